/** Browse: what is stored, page by page. */

import { address, ask } from './api.js';
import { tile } from './chooser.js';
import { button, debounced, fill, h, icon, say } from './dom.js';
import { facets, filtersOf, isFiltered } from './facets.js';
import { empty } from './empty.js';
import { searchFor } from './view.js';
import { count } from './words.js';

const A_PAGE = 60;

const SORTS = [['id', 'Name'], ['label', 'Label'], ['duration', 'Length'], ['size', 'Size'], ['-stored', 'Newest first'], ['damage', 'Damage']];

export function mount(root, page) {
  const filters = facets(page);
  const find = h('input', {
    type: 'search', class: 'find', placeholder: 'Part of a name', ariaLabel: 'Part of a name', autocomplete: 'off', spellcheck: false,
    on: { input: debounced(() => page.go({ contains: find.value.trim(), page: null }, { merge: 'contains' }), 150) },
  });
  const sort = h('select', { id: 'sort', on: { change: () => page.go({ sort: sort.value === 'id' ? '' : sort.value, page: null }) } },
    SORTS.map(([value, words]) => h('option', { value }, words)));
  const title = h('h1', {}, 'Videos');
  const tiles = h('div', { class: 'tiles large' });
  const pages = h('nav', { class: 'pages', ariaLabel: 'Pages' });
  const narrow = matchMedia('(max-width: 60rem)');
  const settings = h('details', { class: 'settings', open: !narrow.matches },
    h('summary', {}, icon('filter'), 'Filters'), filters.element);
  fill(root, h('div', { class: 'search' }, h('div', { class: 'side' }, settings),
    h('section', { class: 'found', ariaLabel: 'Stored videos' },
      h('div', { class: 'bar-top' }, title, find, h('label', { class: 'row', htmlFor: 'sort' }, 'By', sort)), tiles, pages)));
  let asked = '';
  let control = null;

  async function look(view) {
    const at = view.page ?? 0;
    const path = address('/v1/videos', {
      ...filtersOf(view), contains: view.contains, sort: view.sort.replace('-', ''),
      reverse: view.sort.startsWith('-') ? 'true' : '', limit: A_PAGE, offset: at * A_PAGE,
    });
    if (path === asked) return;
    asked = path;
    control?.abort();
    control = new AbortController();
    tiles.setAttribute('aria-busy', 'true');
    try {
      const { videos, total } = await ask(path, { signal: control.signal });
      title.textContent = count(total, 'video');
      say(title.textContent);
      const none = !total && !view.contains && !isFiltered(view);
      fill(tiles, none ? empty(page) : total
        ? videos.map((v) => tile(v, { href: page.href(searchFor(page.view, v.video_id)) }))
        : h('p', { class: 'note' }, 'No video passes these filters.'));
      const last = Math.ceil(total / A_PAGE) - 1;
      const to = (n, words, image) => button(words, image, () => { page.go({ page: n || null }); scrollTo(0, 0); }, { disabled: n < 0 || n > last });
      fill(pages, last > 0 && [to(at - 1, 'Before'), h('span', {}, `Page ${at + 1} of ${last + 1}`), to(at + 1, 'Next')]);
    } catch (error) {
      if (error.name === 'AbortError') return;
      asked = '';
      if (error.status === 0 && tiles.children.length) return;
      fill(tiles, h('p', { class: 'note is-error', role: 'alert' }, error.message));
    } finally {
      tiles.removeAttribute('aria-busy');
    }
  }

  const onKey = (event) => {
    if (event.detail !== '/') return;
    event.preventDefault();
    find.focus();
  };
  document.addEventListener('pagekey', onKey);
  return {
    update(view) {
      filters.update(view);
      if (document.activeElement !== find) find.value = view.contains;
      sort.value = view.sort || 'id';
      look(view);
    },
    leave() {
      control?.abort();
      document.removeEventListener('pagekey', onKey);
    },
  };
}
