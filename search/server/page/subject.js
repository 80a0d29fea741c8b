/** The query: its clip with a player, the part and the region of it, and further examples. */

import { details } from './api.js';
import { choose } from './chooser.js';
import { dropField } from './drop.js';
import { button, fill, h } from './dom.js';
import { Player } from './player.js';
import { Region } from './region.js';
import { still } from './still.js';
import { isUpload } from './view.js';
import { clock, parts } from './words.js';

/** Return the query's panel; `addFiles` gets files to search by, too. */
export function subject(page, addFiles) {
  const place = h('div', {});
  const name = h('p', { class: 'clip-name' });
  const others = h('div', { class: 'examples' });
  const range = cut(page);
  const add = h('div', { class: 'chips' });
  const regionButton = button('Region', 'region', () => (page.view.region ? region.forget() : region.begin()), { class: 'chip' });
  const element = h('section', { class: 'subject', 'aria-labelledby': 'query-title' },
    h('h2', { id: 'query-title', tabIndex: -1 }, 'Query'), place, name, range.element, add, others);
  let player = null;
  let region = null;
  let shown = '';
  let gone = false;

  async function show(clip, view) {
    shown = clip;
    player?.pause();
    player = new Player(clip, { at: view.from ?? 0, lazy: false, onLength: () => range.set(player, page.view) });
    region = new Region(player, (value) => page.go({ region: value }, { merge: 'region' }));
    fill(place, player.element);
    fill(name, h('bdi', {}, isUpload(clip) ? '' : clip));
    const mine = player;
    try {
      const info = await player.learn();
      if (mine !== player) return;
      fill(name, h('bdi', {}, isUpload(clip) ? info.name : clip));
      range.set(player, page.view);
      regionButton.hidden = info.kind === 'sound';
    } catch {
      range.set(null, page.view);
    }
  }

  function more(view) {
    fill(add, regionButton,
      button('Also like', 'plus', () => choose('Also like', (id) => page.go({ like: [...page.view.like, id] })), { class: 'chip' }),
      button('Not like', 'minus', () => choose('Not like', (id) => page.go({ not: [...page.view.not, id] })), { class: 'chip' }),
      !gone && dropField(addFiles, { words: 'Also like a file', id: 'file-small' }));
    fill(others, view.like.slice(1).map((c) => small(c, 'like', 'and')), view.not.map((c) => small(c, 'not', 'not')));
  }

  /** A further example: what it is called, and a way to do without it. */
  function small(clip, list, words) {
    const called = h('bdi', {}, isUpload(clip) ? 'an upload' : parts(clip).name);
    const forget = button(`Forget ${called.textContent}`, 'close',
      () => page.go({ [list]: page.view[list].filter((each) => each !== clip) }), { quiet: true });
    if (isUpload(clip)) {
      details(clip).then((info) => {
        called.textContent = info.name;
        forget.title = forget.ariaLabel = `Forget ${info.name}`;
      }, () => undefined);
    }
    return h('span', { class: `example ${list}` }, still(clip, { size: 120 }), h('span', {}, `${words} `, called), forget);
  }

  return {
    element,
    get player() { return player; },
    /** Note whether the server has a clip of the query no more; then the refusal asks for a file. */
    isGone(is) {
      if (is === gone) return;
      gone = is;
      more(page.view);
    },
    /** Show the clip anew, where its picture could not be had. */
    again() {
      if (place.querySelector('.no-picture')) shown = '';
    },
    update(view) {
      if (view.like[0] !== shown) show(view.like[0], view);
      else range.set(player, view);
      region.set(view.region);
      regionButton.setAttribute('aria-pressed', String(Boolean(view.region)));
      more(view);
    },
    key(key) {
      if ((key === 'i' || key === 'o') && player) range.take(key === 'i' ? 'from' : 'to', player.now);
    },
  };
}

/** Return the part of the query that counts: two handles on one line. */
function cut(page) {
  const handle = (name, words) => h('input', {
    type: 'range', min: 0, max: 1, step: 0.1, ariaLabel: words, class: `handle ${name}`,
    on: { input: () => change(name), change: () => player?.seek(Number(low.value)) },
  });
  const low = handle('from', 'The query begins at');
  const high = handle('to', 'The query ends at');
  const chosen = h('i', { class: 'chosen' });
  const words = h('span', { class: 'soft' });
  const whole = h('button', { type: 'button', class: 'link', on: { click: () => page.go({ from: null, to: null }) } }, 'Whole clip');
  const here = h('span', { class: 'here' },
    h('button', { type: 'button', class: 'link', on: { click: () => take('from', player.now) } }, 'From here'),
    h('button', { type: 'button', class: 'link', on: { click: () => take('to', player.now) } }, 'To here'));
  const element = h('div', { class: 'cut', role: 'group', ariaLabel: 'Part of the query' },
    h('div', { class: 'two' }, chosen, low, high), h('div', { class: 'row' }, words, here, whole));
  let player = null;

  function change(name) {
    const least = 0.2;
    let [from, to] = [Number(low.value), Number(high.value)];
    if (to - from < least) {
      if (name === 'from') from = Math.max(0, to - least);
      else to = Math.min(player.duration, from + least);
    }
    const all = from <= 0.05 && to >= player.duration - 0.1;
    page.go(all ? { from: null, to: null } : { from, to }, { merge: 'part' });
  }

  function take(name, seconds) {
    if (!player?.duration) return;
    const rounded = Math.round(seconds * 10) / 10;
    const { from, to } = page.view;
    const next = name === 'from'
      ? { from: rounded, to: to !== null && to > rounded + 0.2 ? to : player.duration }
      : { from: from !== null && from < rounded - 0.2 ? from : 0, to: Math.max(0.2, rounded) };
    page.go(next);
  }

  return {
    element,
    take,
    set(of, view) {
      player = of;
      const length = of?.duration ?? 0;
      element.hidden = length < 0.5;
      if (element.hidden) return;
      const [from, to] = [view.from ?? 0, view.to ?? length];
      for (const input of [low, high]) input.max = length;
      low.value = from;
      high.value = to;
      low.setAttribute('aria-valuetext', clock(from, true));
      high.setAttribute('aria-valuetext', clock(to, true));
      chosen.style.left = `${(100 * from) / length}%`;
      chosen.style.right = `${100 - (100 * to) / length}%`;
      const part = view.from !== null || view.to !== null;
      words.textContent = part ? `${clock(from, true)} to ${clock(to, true)} counts` : 'All of it counts';
      whole.hidden = !part;
    },
  };
}
