/** Duplicates: groups of videos that share footage, what is to be kept, and a list to take away. */

import { address, ask } from './api.js';
import { groupItem } from './group.js';
import { button, fill, h, say } from './dom.js';
import { capital, count, parts } from './words.js';

/** Groups that are shown at once. */
const A_TIME = 10;

/** Time between two looks at a search that goes on. */
const AGAIN_MS = 1000;

export function mount(root, page) {
  const title = h('h1', {}, 'Duplicates');
  const told = h('div', { class: 'told' });
  const list = h('ol', { class: 'groups' });
  const after = h('div', { class: 'after' });
  const apart = h('details', { class: 'panel', hidden: true });
  const open = h('input', { type: 'checkbox', on: { change: () => page.go({ undecided: open.checked ? 'yes' : '' }) } });
  const take = h('div', { class: 'row' }, h('label', { class: 'check' }, open, h('span', {}, 'Only undecided')));
  fill(root, h('div', { class: 'duplicates' }, h('div', { class: 'bar-top' }, title, take), told, list, after, apart));
  let asked = null;
  let control = null;
  let timer = 0;

  const path = (view, params) => address('/v1/duplicates', {
    library: view.library, undecided: view.undecided ? 'true' : '', limit: A_TIME, wait_s: 1, ...params,
  });

  async function look(view, again = false) {
    const key = JSON.stringify([view.library, view.undecided]);
    open.checked = Boolean(view.undecided);
    if (key === asked && !again) return;
    asked = key;
    clearTimeout(timer);
    control?.abort();
    control = new AbortController();
    await more(view, 0);
  }

  /** Show the groups from a number on, once they are found. */
  async function more(view, offset) {
    try {
      const found = await ask(path(view, { offset }), { signal: control.signal });
      if (found.stages) {
        list.replaceChildren();
        wait(found.stages);
        timer = setTimeout(() => more(view, offset), AGAIN_MS);
        return;
      }
      draw(view, found, offset);
    } catch (error) {
      if (error.name === 'AbortError') return;
      asked = null;
      if (error.status === 0 && list.children.length) return;
      list.replaceChildren();
      fill(after);
      const refused = error.status !== 404 || view.library.length > 0;
      fill(told, h('div', { class: refused ? 'note is-error' : 'note', role: refused ? 'alert' : 'status' },
        h('p', {}, error.message), refused && button('Try again', null, () => look(page.view))));
    }
  }

  function wait(stages) {
    const now = stages.filter((s) => !s.finished);
    fill(told, h('p', { class: 'soft busy' }, 'Comparing all stored videos with each other. The first time their files are read, which takes a while.'),
      now.map((s) => h('div', {}, h('div', { class: 'row' }, h('span', {}, capital(s.stage)), h('span', { class: 'soft' }, s.said)),
        h('progress', { max: s.total || 1, ...(s.total ? { value: Math.min(s.done, s.total) } : {}), ariaLabel: capital(s.stage) }))));
  }

  function draw(view, found, offset) {
    title.textContent = found.total === 1 ? '1 group of near-duplicates' : `${found.total.toLocaleString('en')} groups of near-duplicates`;
    if (!offset) list.replaceChildren();
    fill(told,
      h('p', { class: 'soft' }, `${count(found.videos, 'video')} compared. Pieces of one scene count as near-duplicates, too. vidsim remembers what you decide, and never deletes a file.`),
      !found.total && h('p', { class: 'note' }, view.undecided ? 'Nothing is left to decide.' : 'No two videos here share footage.'),
      found.failed.length > 0 && h('details', {}, h('summary', {}, `${count(found.failed.length, 'file')} could not be read`),
        h('ul', {}, found.failed.map((f) => h('li', {}, h('bdi', {}, f.path), `: ${f.reason}`)))),
      found.notes.map((n) => h('p', { class: 'note' }, n)));
    if (!offset) say(title.textContent);
    list.append(...found.groups.map((g) => groupItem(g, () => separated())));
    const shown = offset + found.groups.length;
    fill(after, shown < found.total && button('Show more', null, () => more(view, shown)));
    for (const [words, href] of [
      ['CSV', address('/v1/duplicates.csv', { library: view.library })],
      ['JSON', address('/v1/duplicates', { library: view.library, limit: 200 })],
    ]) {
      take.querySelector(`[data-kind=${words}]`)?.remove();
      take.append(h('a', { href, download: `duplicates.${words.toLowerCase()}`, class: 'chip', data: { kind: words } }, words));
    }
    separated();
  }

  /** List the pairs that were decided to be different, which are in no group any more. */
  async function separated() {
    const { decisions } = await ask('/v1/duplicates/decisions').catch(() => ({ decisions: [] }));
    const different = decisions.filter((d) => d.decision === 'not the same');
    apart.hidden = !different.length;
    fill(apart, h('summary', {}, `${count(different.length, 'pair')} decided to be different`),
      h('ul', { class: 'libraries' }, different.map((d) => h('li', { class: 'row' },
        h('span', {}, h('bdi', {}, parts(d.first).name), ' and ', h('bdi', {}, parts(d.second).name)),
        h('button', {
          type: 'button', class: 'link',
          on: {
            click: async () => {
              await ask('/v1/duplicates/decisions', { method: 'PUT', body: { first: d.first, second: d.second, decision: null } })
                .then(() => look(page.view, true), (error) => say(error.message));
            },
          },
        }, 'Take back')))));
  }

  return {
    update: (view) => look(view),
    leave() {
      clearTimeout(timer);
      control?.abort();
    },
  };
}
