/** Duplicates: groups of videos that share footage, what is to be kept, and a list to take away. */

import { address, ask } from './api.js';
import { button, fill, h, icon, say } from './dom.js';
import { Player, inStep } from './player.js';
import { bytes, capital, clock, count, decimals, parts } from './words.js';

/** Groups that are shown at once. */
const A_TIME = 10;

export function mount(root, page) {
  const title = h('h1', {}, 'Duplicates');
  const told = h('div', { class: 'told' });
  const list = h('ol', { class: 'groups' });
  const after = h('div', { class: 'after' });
  const open = h('input', { type: 'checkbox', on: { change: () => draw() } });
  const take = h('div', { class: 'row' },
    h('label', { class: 'check' }, open, h('span', {}, 'Only undecided')));
  fill(root, h('div', { class: 'duplicates' },
    h('div', { class: 'bar-top' }, title, take), told, list, after));
  let asked = null;
  let found = null;
  let shown = A_TIME;
  let control = null;

  async function look(view) {
    const path = address('/v1/duplicates', { library: view.library, libraries: view.library });
    if (path === asked) return;
    asked = path;
    control?.abort();
    control = new AbortController();
    shown = A_TIME;
    list.replaceChildren();
    fill(told, h('p', { class: 'soft busy' }, 'Comparing all stored videos with each other. The first time, their files are read, which takes a while.'));
    try {
      found = await ask(path, { signal: control.signal });
      for (const [words, href] of [['CSV', path.replace('/duplicates', '/duplicates.csv')], ['JSON', path]]) {
        take.querySelector(`[data-kind=${words}]`)?.remove();
        take.append(h('a', { href, download: `duplicates.${words.toLowerCase()}`, class: 'chip', data: { kind: words } }, words));
      }
      draw();
    } catch (error) {
      if (error.name === 'AbortError') return;
      asked = null;
      if (error.status === 404 && !view.library.length) {
        fill(told, h('p', { class: 'note', role: 'status' }, error.message));
        return;
      }
      fill(told, h('div', { class: 'note is-error', role: 'alert' }, h('p', {}, error.message),
        button('Try again', null, () => look(page.view))));
    }
  }

  const isDecided = (group) => group.pairs.every((p) => p.decision);

  function draw() {
    if (!found) return;
    const groups = found.groups.filter((g) => !open.checked || !isDecided(g));
    const left = found.groups.filter((g) => !isDecided(g)).length;
    title.textContent = found.groups.length === 1 ? '1 group of duplicates' : `${found.groups.length.toLocaleString('en')} groups of duplicates`;
    fill(told,
      h('p', { class: 'soft' }, `${count(found.videos, 'video')} compared; ${left ? `${left} to decide` : 'all decided'}. `
        + 'vidsim remembers what you decide, and never deletes a file.'),
      !found.groups.length && h('p', { class: 'note' }, 'No two videos here share footage.'),
      found.notes.map((n) => h('p', { class: 'note' }, n)));
    say(title.textContent);
    fill(list, groups.slice(0, shown).map((g) => groupItem(g, draw)));
    fill(after, groups.length > shown && button('Show more', null, () => { shown += A_TIME; draw(); }));
  }

  return {
    update: (view) => look(view),
    leave: () => control?.abort(),
  };
}

/** One group: its videos side by side, what differs, and what was decided. */
function groupItem(group, redraw) {
  const shifts = shiftsOf(group);
  const players = group.videos.map((v) => new Player(v.video_id, { at: startOf(group, v.video_id) }));
  const step = inStep(players, group.videos.map((v) => shifts.get(v.video_id) ?? 0));
  const best = {
    pixels: Math.max(...group.videos.map(pixels)),
    duration: Math.max(...group.videos.map((v) => v.duration_s)),
    bitrate: Math.max(...group.videos.map((v) => v.bitrate ?? 0)),
    size: Math.max(...group.videos.map((v) => v.size)),
  };
  const kept = group.pairs.find((p) => keptOf(p))?.keep ?? group.pairs.map(keptOf).find(Boolean) ?? null;
  const other = group.pairs.length > 0 && group.pairs.every((p) => decisionOf(p) === 'not the same');
  const error = h('p', { class: 'note is-error', role: 'alert', hidden: true });

  async function decide(decision, keep) {
    try {
      for (const pair of group.pairs) {
        await ask('/v1/duplicates/decisions', {
          method: 'PUT', body: { first: pair.first.video_id, second: pair.second.video_id, decision, keep },
        });
        pair.decision = decision && { decision, keep };
      }
      redraw();
    } catch (failure) {
      error.hidden = false;
      error.textContent = failure.message;
    }
  }

  const columns = group.videos.map((v, n) => {
    const isKept = kept === v.video_id;
    const { name, library, folder } = parts(v.video_id);
    return h('div', { class: `copy${isKept ? ' is-kept' : kept || other ? ' is-left' : ''}` },
      players[n].element,
      h('p', { class: 'clip-name', title: v.path }, h('bdi', {}, name)),
      h('p', { class: 'soft' }, h('bdi', {}, [library, folder].filter(Boolean).join('/'))),
      h('dl', { class: 'facts' },
        fact('Picture', v.width ? `${v.width} × ${v.height}` : 'none', pixels(v) === best.pixels && differ(group.videos.map(pixels))),
        fact('Length', clock(v.duration_s, true), v.duration_s === best.duration && differ(group.videos.map((o) => o.duration_s))),
        fact('Bitrate', v.bitrate ? `${Math.round(v.bitrate / 1000).toLocaleString('en')} kbit/s` : 'unknown', v.bitrate === best.bitrate && differ(group.videos.map((o) => o.bitrate))),
        fact('Size', bytes(v.size), v.size === best.size && differ(group.videos.map((o) => o.size)))),
      h('button', {
        type: 'button', class: isKept ? 'primary small' : 'plain small', ariaPressed: String(isKept),
        on: { click: () => (isKept ? decide(null, null) : decide('keep', v.video_id)) },
      }, isKept && icon('check'), isKept ? 'Kept' : 'Keep this one', h('span', { class: 'unseen' }, ` ${name}`)));
  });
  return h('li', { class: 'group panel' },
    h('div', { class: 'row' }, h('h2', {}, said(group)),
      h('span', { class: 'row' },
        players.length > 1 && button('Play in step', 'play', () => (step.playing ? step.stop() : step.play(startOf(group, group.videos[0].video_id))), { class: 'chip' }),
        h('button', {
          type: 'button', class: 'chip', ariaPressed: String(other), on: { click: () => decide(other ? null : 'not the same', null) },
        }, 'Not the same'))),
    error, h('div', { class: 'copies' }, columns));
}

const decisionOf = (pair) => pair.decision?.decision ?? pair.decision ?? null;

const keptOf = (pair) => (decisionOf(pair) === 'keep' ? pair.decision.keep ?? pair.keep : null);

const pixels = (v) => (v.width ?? 0) * (v.height ?? 0);

const differ = (values) => new Set(values).size > 1;

const fact = (words, value, isBest) => h('div', { class: isBest ? 'is-best' : '' }, h('dt', {}, words),
  h('dd', {}, value, isBest && h('span', { class: 'unseen' }, ', the most')));

function said(group) {
  if (group.pairs.every((p) => p.identical)) return 'Identical files';
  const likest = Math.max(...group.pairs.map((p) => p.similarity));
  const least = Math.min(...group.pairs.map((p) => p.coverage));
  const share = `${group.pairs.length > 1 ? 'at least ' : ''}${Math.round(100 * least)} %`;
  return `${capital(share)} of the shorter one is shared, cosine ${decimals(likest)}`;
}

/** Return where each video of a group shows what the first one shows at 0, following the pairs. */
function shiftsOf(group) {
  const shifts = new Map([[group.videos[0].video_id, 0]]);
  for (let round = 0; round < group.videos.length; round += 1) {
    for (const { first, second } of group.pairs) {
      const ahead = second.start_s - first.start_s;
      if (shifts.has(first.video_id) && !shifts.has(second.video_id)) shifts.set(second.video_id, shifts.get(first.video_id) + ahead);
      else if (shifts.has(second.video_id) && !shifts.has(first.video_id)) shifts.set(first.video_id, shifts.get(second.video_id) - ahead);
    }
  }
  return shifts;
}

function startOf(group, id) {
  const pair = group.pairs.find((p) => p.first.video_id === id || p.second.video_id === id);
  if (!pair) return 0;
  return pair.first.video_id === id ? pair.first.start_s : pair.second.start_s;
}
