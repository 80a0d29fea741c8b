/** One group of duplicates: its videos side by side, what differs, and what was decided. */

import { ask } from './api.js';
import { fill, h, icon } from './dom.js';
import { Player, inStep, stepButton } from './player.js';
import { bytes, capital, clock, decimals, parts } from './words.js';

/** Difference of lengths in seconds that says nothing: copies end a frame or two apart. */
const SAME_LENGTH_S = 0.1;

/** Return a group as an item; `onDecided` is called after each decision. */
export function groupItem(group, onDecided) {
  const shifts = shiftsOf(group);
  const players = group.videos.map((v) => new Player(v.video_id, { at: startOf(group, v.video_id), has: v.width ? ['frame'] : [] }));
  const step = inStep(players, group.videos.map((v) => shifts.get(v.video_id) ?? 0), (plays) => together.show(plays));
  const together = stepButton(() => (step.playing ? step.stop() : step.play(startOf(group, group.videos[0].video_id))), 'chip');
  const head = h('div', { class: 'row' });
  const error = h('p', { class: 'note is-error', role: 'alert', hidden: true });
  const verdicts = group.videos.map(() => h('div', { class: 'row' }));
  const columns = group.videos.map((v, n) => copy(group, v, players[n], verdicts[n]));
  const element = h('li', { class: 'group panel' }, head, error, h('div', { class: 'copies' }, columns));

  /** Decide about pairs: what is wished is shown at once, and taken back where it is refused. */
  async function decide(pairs, choose) {
    const before = pairs.map((pair) => pair.decision);
    const wishes = pairs.map((pair) => ({ keep: null, ...choose(pair) }));
    pairs.forEach((pair, n) => { pair.decision = wishes[n].decision ? wishes[n] : null; });
    error.hidden = true;
    draw();
    let done = 0;
    try {
      for (const { first, second } of pairs) {
        const body = { first: first.video_id, second: second.video_id, ...wishes[done] };
        await ask('/v1/duplicates/decisions', { method: 'PUT', body });
        done += 1;
      }
      onDecided();
    } catch (failure) {
      pairs.slice(done).forEach((pair, n) => { pair.decision = before[done + n]; });
      error.hidden = false;
      error.textContent = failure.message;
      draw();
    }
  }

  /** Of each pair the video is kept that comes first: the chosen one, then the better ones. */
  function keep(id) {
    const order = [id, ...group.videos.map((v) => v.video_id).filter((other) => other !== id)];
    decide(group.pairs, ({ first, second }) => ({
      decision: 'keep',
      keep: order.indexOf(first.video_id) < order.indexOf(second.video_id) ? first.video_id : second.video_id,
    }));
  }

  const forget = (pairs) => decide(pairs, () => ({ decision: null }));
  const refuse = (pairs) => decide(pairs, () => ({ decision: 'not the same' }));
  const of = (id) => group.pairs.filter((p) => p.first.video_id === id || p.second.video_id === id);
  const isRefused = (pairs) => pairs.length > 0 && pairs.every((p) => p.decision?.decision === 'not the same');
  const isKept = (id) => of(id).length > 0 && of(id).every((p) => p.decision?.keep === id);

  function different(pairs, words) {
    const pressed = isRefused(pairs);
    return h('button', {
      type: 'button', class: 'chip', ariaPressed: String(pressed), on: { click: () => (pressed ? forget(pairs) : refuse(pairs)) },
    }, words);
  }

  function draw() {
    const focused = [...element.querySelectorAll('button')].indexOf(document.activeElement);
    const two = group.videos.length === 2;
    const kept = group.videos.find((v) => isKept(v.video_id));
    fill(head, h('h2', {}, said(group)), isSame(group.pairs) && sameFile('same file'), h('span', { class: 'row' },
      together.element,
      two && different(group.pairs, 'Not the same')));
    group.videos.forEach((v, n) => {
      const chosen = kept === v;
      const { name } = parts(v.video_id);
      columns[n].className = `copy${chosen ? ' is-kept' : kept || isRefused(of(v.video_id)) ? ' is-left' : ''}`;
      fill(verdicts[n], h('button', {
        type: 'button', class: chosen ? 'primary small' : 'plain small', ariaPressed: String(chosen),
        on: { click: () => (chosen ? forget(group.pairs) : keep(v.video_id)) },
      }, chosen && icon('check'), chosen ? 'Kept' : 'Keep this one', h('span', { class: 'unseen' }, ` ${name}`)),
      !two && different(of(v.video_id), 'Not the same'));
    });
    if (focused >= 0) element.querySelectorAll('button')[focused]?.focus();
  }
  draw();
  return element;
}

function copy(group, v, player, verdict) {
  const { name, library, folder } = parts(v.video_id);
  const best = (value, slack = 0) => {
    const values = group.videos.map(value);
    return Math.max(...values) - Math.min(...values) > slack && value(v) >= Math.max(...values) - slack;
  };
  const twins = isSame(group.pairs) ? [] : group.pairs.filter((p) => p.identical)
    .filter((p) => [p.first.video_id, p.second.video_id].includes(v.video_id))
    .map((p) => parts(p.first.video_id === v.video_id ? p.second.video_id : p.first.video_id).name);
  return h('div', { class: 'copy' }, player.element,
    h('p', { class: 'clip-name', title: v.path }, h('bdi', {}, name)),
    h('p', { class: 'soft' }, h('bdi', {}, [library, folder].filter(Boolean).join('/'))),
    twins.length > 0 && h('p', {}, sameFile(['same file as ', h('bdi', {}, twins.join(', '))])),
    h('dl', { class: 'facts' },
      fact('Picture', v.width ? `${v.width} × ${v.height}` : 'unknown', best((o) => (o.width ?? 0) * (o.height ?? 0))),
      fact('Length', clock(v.duration_s, true), best((o) => o.duration_s, SAME_LENGTH_S)),
      fact('Bitrate', v.bitrate ? `${Math.round(v.bitrate / 1000).toLocaleString('en')} kbit/s` : 'unknown', best((o) => o.bitrate ?? 0)),
      fact('Size', v.size ? bytes(v.size) : 'unknown', best((o) => o.size))),
    verdict);
}

const fact = (words, value, isBest) => h('div', { class: isBest ? 'is-best' : '' }, h('dt', {}, words),
  h('dd', {}, value, isBest && h('span', { class: 'unseen' }, ', the most')));

const isSame = (pairs) => pairs.every((p) => p.identical);

const sameFile = (words) => h('span', { class: 'badge', data: { word: 'same footage' } }, words);

function said(group) {
  if (isSame(group.pairs)) return 'Identical files';
  // Of identical files nothing was compared.
  const compared = group.pairs.filter((p) => !p.identical);
  const likest = Math.max(...compared.map((p) => p.similarity));
  const percent = Math.round(100 * Math.min(...compared.map((p) => p.coverage)));
  const share = percent === 100 ? 'all' : `${compared.length > 1 ? 'at least ' : ''}${percent} %`;
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
