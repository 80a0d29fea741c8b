/** Facets that searches, the list and the map have in common: library, label, length, date. */

import { address, ask } from './api.js';
import { debounced, fill, h } from './dom.js';
import { FACETS } from './view.js';

/** Labels that are shown before a person asks for all. */
const FEW = 8;

const LENGTHS = [
  ['Any length', null, null], ['Up to 10 s', null, 10], ['10 s to 1 min', 10, 60],
  ['1 to 10 min', 60, 600], ['Over 10 min', 600, null],
];

/** Return the filters of a view as parameters of /v1/videos and /v1/facets. */
export function filtersOf(view) {
  return Object.fromEntries(FACETS.map((name) => [name, view[name]]));
}

export const isFiltered = (view) => FACETS.some((name) => (Array.isArray(view[name]) ? view[name].length : view[name]));

/** Return the facets as {element, update}. */
export function facets(page) {
  const libraries = h('div', {});
  const labels = h('div', {});
  const clear = h('button', {
    type: 'button', class: 'link', hidden: true,
    on: { click: () => page.go({ library: [], label: [], min_s: null, max_s: null, since: '', until: '', page: null }) },
  }, 'Forget all filters');
  const length = h('select', {
    id: 'length',
    on: {
      change: () => {
        const [, min_s, max_s] = LENGTHS[Number(length.value)];
        page.go({ min_s, max_s, page: null });
      },
    },
  }, LENGTHS.map(([words], n) => h('option', { value: n }, words)));
  const since = day('since', 'Stored since');
  const until = day('until', 'Until');
  let all = false;
  let wanted = '';
  let known = null;
  const find = h('input', {
    type: 'search', class: 'find small', placeholder: 'Find a label', ariaLabel: 'Find a label', hidden: true,
    on: { input: debounced(() => { wanted = find.value.trim().toLowerCase(); draw(); }, 80) },
  });

  function day(name, words) {
    const field = h('input', { type: 'date', id: name, on: { change: () => page.go({ [name]: field.value, page: null }) } });
    return { field, row: h('div', { class: 'row' }, h('label', { htmlFor: name }, words), field) };
  }

  function choices(name, counts) {
    const chosen = page.view[name];
    const present = Object.keys(counts);
    return [...present, ...chosen.filter((v) => !present.includes(v))].map((value) => {
      const box = h('input', {
        type: 'checkbox', checked: chosen.includes(value),
        on: {
          change: () => {
            const rest = page.view[name].filter((v) => v !== value);
            page.go({ [name]: box.checked ? [...rest, value] : rest, page: null });
          },
        },
      });
      return h('label', { class: 'check' }, box, h('bdi', {}, value || 'without a label'),
        h('span', { class: 'number' }, counts[value]?.toLocaleString('en') ?? '0'));
    });
  }

  function draw() {
    const { view } = page;
    fill(libraries, choices('library', known.libraries));
    const sorted = Object.entries(known.labels).filter(([label]) => label)
      .sort(([a, m], [b, n]) => n - m || a.localeCompare(b));
    const matching = sorted.filter(([label]) => label.toLowerCase().includes(wanted) || view.label.includes(label));
    const cut = all || wanted ? matching : matching.slice(0, FEW);
    find.hidden = sorted.length <= FEW;
    const chosenToo = view.label.filter((l) => !cut.some(([label]) => label === l));
    const shown = Object.fromEntries([...cut, ...chosenToo.map((l) => [l, known.labels[l] ?? 0])]);
    fill(labels, choices('label', shown),
      matching.length > cut.length && h('button', {
        type: 'button', class: 'link', on: { click: () => { all = true; draw(); } },
      }, `All ${matching.length} labels`));
    labels.parentElement.hidden = !sorted.length && !view.label.length;
  }

  const group = (words, ...content) => h('fieldset', {}, h('legend', {}, words), ...content);
  const element = h('div', { class: 'facets' },
    group('Libraries', libraries), group('Labels', find, labels),
    group('Length and date', h('div', { class: 'row' }, h('label', { htmlFor: 'length' }, 'Length'), length), since.row, until.row),
    clear);
  let asked = '';
  return {
    element,
    async update(view) {
      const path = address('/v1/facets', filtersOf(view));
      clear.hidden = !isFiltered(view);
      since.field.value = view.since;
      until.field.value = view.until;
      const at = LENGTHS.findIndex(([, min, max]) => min === view.min_s && max === view.max_s);
      length.value = at < 0 ? '' : String(at);
      if (path === asked) {
        if (known) draw();
        return;
      }
      asked = path;
      try {
        known = await ask(path);
        draw();
      } catch (error) {
        asked = '';
        if (error.status) fill(labels, h('p', { class: 'soft' }, error.message));
      }
    },
  };
}
