/** Compare two: where they match, over time, their colours and their sound. */

import { ask, partOf } from './api.js';
import { badge, bars } from './card.js';
import { choose } from './chooser.js';
import { button, fill, h, icon, picture, say, svg } from './dom.js';
import { Player, inStep, stepButton } from './player.js';
import { asClip, isUpload } from './view.js';
import { CALLED, MODALITIES, capital, clock, decimals, parts, sharing } from './words.js';

export function mount(root, page) {
  const title = h('h1', {}, 'Compare two videos');
  const verdict = h('div', { class: 'row' });
  const sides = h('div', { class: 'two-sides' });
  const told = h('div', { class: 'told' });
  const body = h('div', { class: 'compared' });
  fill(root, h('div', { class: 'compare' }, h('div', { class: 'bar-top' }, title, verdict), told, sides, body));
  let asked = '';
  let control = null;

  function side(which, clip, player) {
    const words = which === 'a' ? 'the first video' : 'the second video';
    const pick = () => choose(`Choose ${words}`, (id) => page.go({ [which]: id }));
    const name = clip && (isUpload(clip) ? 'Uploaded clip' : parts(clip).name);
    return h('section', { class: 'one-side', ariaLabel: capital(words) },
      player ? player.element : h('button', { type: 'button', class: 'drop', on: { click: pick } }, icon('browse'), h('strong', {}, `Choose ${words}`)),
      clip && h('div', { class: 'row' }, h('p', { class: 'clip-name' }, h('bdi', {}, name)),
        button('Choose another', 'browse', pick, { class: 'chip' })));
  }

  async function show(a, b) {
    control?.abort();
    control = new AbortController();
    fill(told);
    fill(verdict);
    fill(body);
    title.textContent = 'Compare two videos';
    if (!a || !b) {
      fill(sides, side('a', a, a && new Player(a)), side('b', b, b && new Player(b)));
      return;
    }
    const players = [new Player(a, { lazy: false }), new Player(b, { lazy: false })];
    fill(sides, side('a', a, players[0]), side('b', b, players[1]));
    body.setAttribute('aria-busy', 'true');
    fill(told, h('p', { class: 'soft' }, 'Comparing…'));
    try {
      const request = { method: 'POST', body: { first: asClip(a), second: asClip(b) }, signal: control.signal };
      const [found] = await Promise.all([ask('/v1/compare', request), ...players.map((p) => p.learn().catch(() => null))]);
      draw(found, [a, b], players);
    } catch (error) {
      if (error.name === 'AbortError') return;
      asked = '';
      fill(told, h('p', { class: 'note is-error', role: 'alert' }, error.message));
    } finally {
      body.removeAttribute('aria-busy');
    }
  }

  function draw(found, clips, players) {
    const likenesses = Object.fromEntries(Object.entries(found.modalities).map(([m, v]) => [m, v.likeness]));
    title.textContent = sharing(likenesses, found.word);
    say(`${title.textContent}; likeness ${decimals(found.likeness)}, ${found.word}`);
    const shift = found.moments.length ? found.moments[0].start_s - found.moments[0].query_start_s : 0;
    const onChange = (plays) => together.show(plays);
    let step = inStep(players, [0, shift], onChange);
    const go = (from, by) => {
      step.stop();
      step = inStep(players, [0, by], onChange);
      step.play(from);
    };
    const together = stepButton(() => {
      const [m] = found.moments;
      if (step.playing) step.stop();
      else go(m.query_start_s, m.start_s - m.query_start_s);
    }, 'primary');
    fill(verdict, h('strong', { class: 'score' }, decimals(found.likeness)), badge(found.word),
      found.moments.length > 0 && together.element);
    fill(told,
      found.missing_modalities.length > 0 && h('p', { class: 'soft' },
        `Not compared, as one of the two has none: ${found.missing_modalities.map((m) => CALLED[m]).join(', ')}.`),
      found.notes.map((n) => h('p', { class: 'note' }, n)));
    const [first, second] = players.map((p) => p.duration);
    players[0].moments = found.moments.map((m) => ({ start_s: m.query_start_s, end_s: m.query_end_s }));
    players[1].moments = found.moments;
    players.forEach((p) => {
      p._mark();
      if (p.moments.length && !p.now) p.seek(p.moments[0].start_s);
    });
    fill(body,
      panel('By modality', bars(likenesses, [...Object.keys(likenesses), ...found.missing_modalities])),
      found.over_time.length > 1 && panel('Likeness over time', overTime(found, (at) => go(at.first_s, at.second_s - at.first_s))),
      found.moments.length > 0 && wide(panel('Where they match', moments(found, players, go))),
      likenesses.color !== undefined && panel('Colours over time', strips(found, clips, first, second)),
      likenesses.audio !== undefined && panel('Sound over time', clips.map((clip, n) =>
        picture(partOf(clip, 'spectrogram'), `Spectrogram of the ${n ? 'second' : 'first'} video`, { class: 'spectrogram', kind: 'note' }))));
  }

  return {
    update({ a, b }) {
      if (asked === JSON.stringify([a, b])) return;
      asked = JSON.stringify([a, b]);
      show(a, b);
    },
    leave: () => control?.abort(),
  };
}

function wide(element) {
  element.classList.add('wide');
  return element;
}

const panel = (words, ...content) => h('section', { class: 'panel' }, h('h2', {}, words), ...content);

/** Frames side by side: begin, middle and end of each stretch that matches. */
function moments(found, players, go) {
  return h('ol', { class: 'moments' }, found.moments.slice(0, 4).map((m) => {
    const length = m.end_s - m.start_s;
    const at = length > 1 ? [0.1, 0.5, 0.9] : [0.5];
    const frames = ({ clip, info }, start) => h('div', { class: 'frames' }, info?.kind === 'sound'
      ? picture(partOf(clip, 'spectrogram', { start_s: start, end_s: start + length }), '', { kind: 'note' })
      : at.map((part) => picture(partOf(clip, 'thumbnail', { at_s: (start + part * length).toFixed(2), size: 240 }), '', { kind: 'play' })));
    return h('li', {},
      frames(players[0], m.query_start_s), frames(players[1], m.start_s),
      h('div', { class: 'row' }, h('span', { class: 'soft' },
        `${clock(m.query_start_s, true)} and ${clock(m.start_s, true)}, for ${length.toFixed(1)} s: likeness ${decimals(m.likeness)}`),
      button(`Play from ${clock(m.query_start_s)}`, 'play', () => go(m.query_start_s, m.start_s - m.query_start_s), { class: 'chip' })));
  }));
}

/** The vid2img strips, one above the other, with bands between the stretches that match. */
function strips(found, clips, first, second) {
  const strip = (clip, words) => picture(partOf(clip, 'strip'), words, { class: 'wide-strip', kind: 'browse' });
  const bands = svg('svg', { class: 'bands', viewBox: '0 0 1000 60', preserveAspectRatio: 'none', 'aria-hidden': 'true' });
  if (first && second) {
    for (const [n, m] of found.moments.entries()) {
      const [x1, x2] = [m.query_start_s, m.query_end_s].map((s) => (1000 * s) / first);
      const [y1, y2] = [m.start_s, m.end_s].map((s) => (1000 * s) / second);
      bands.append(svg('polygon', { class: n ? 'band' : 'band best', points: `${x1},0 ${x2},0 ${y2},60 ${y1},60` }));
    }
  }
  return h('div', { class: 'strips' },
    strip(clips[0], 'Colours of the first video over time'), bands, strip(clips[1], 'Colours of the second video over time'));
}

const [WIDE, HIGH, LEFT, UNDER] = [560, 190, 30, 22];

/** A chart of the likeness along the best moment, by all modalities and by each. */
function overTime(found, onPick) {
  const points = found.over_time;
  const [from, to] = [points[0].first_s, points.at(-1).first_s];
  const x = (s) => LEFT + ((WIDE - LEFT - 8) * (s - from)) / Math.max(0.01, to - from);
  const y = (v) => 8 + (HIGH - UNDER - 8) * (1 - v);
  const line = (values, name) => svg('polyline', {
    class: `line ${name}`, points: values.map((v, n) => (v === undefined || v === null ? '' : `${x(points[n].first_s).toFixed(1)},${y(v).toFixed(1)}`)).filter(Boolean).join(' '),
  });
  const chart = svg('svg', { viewBox: `0 0 ${WIDE} ${HIGH}`, class: 'chart', role: 'img',
    'aria-label': `Likeness from ${clock(from)} to ${clock(to)} of the first video; the highest is ${decimals(Math.max(...points.map((p) => p.likeness)))}` });
  for (const v of [0, 0.5, 1]) {
    chart.append(svg('line', { class: 'grid', x1: LEFT, x2: WIDE - 8, y1: y(v), y2: y(v) }),
      svg('text', { x: LEFT - 6, y: y(v) + 4, 'text-anchor': 'end' }, decimals(v).slice(0, 3)));
  }
  for (let n = 0; n <= 4; n += 1) {
    const s = from + ((to - from) * n) / 4;
    chart.append(svg('text', { x: x(s), y: HIGH - 6, 'text-anchor': n === 0 ? 'start' : n === 4 ? 'end' : 'middle' }, clock(s, to - from < 4)));
  }
  const modalities = Object.keys(found.modalities);
  chart.append(...modalities.map((m) => line(points.map((p) => p.modalities[m]), m)), line(points.map((p) => p.likeness), 'all'));
  const cursor = svg('line', { class: 'cursor', y1: 8, y2: HIGH - UNDER, x1: -9, x2: -9 });
  chart.append(cursor);
  const told = h('output', { class: 'soft' }, 'Choose a second to play both from there.');
  const slider = h('input', {
    type: 'range', min: 0, max: points.length - 1, value: 0, class: 'chart-range', ariaLabel: 'Second of the comparison',
    on: { input: () => at(Number(slider.value)), change: () => onPick(points[Number(slider.value)]) },
  });
  function at(n) {
    const p = points[n];
    cursor.setAttribute('x1', x(p.first_s));
    cursor.setAttribute('x2', x(p.first_s));
    slider.setAttribute('aria-valuetext', `${clock(p.first_s, true)}, likeness ${decimals(p.likeness)}`);
    told.textContent = `${clock(p.first_s, true)} and ${clock(p.second_s, true)}: ${decimals(p.likeness)}`;
  }
  const key = h('ul', { class: 'legend' }, ['all', ...MODALITIES.filter((m) => modalities.includes(m))].map((m) =>
    h('li', {}, h('i', { class: m }), m === 'all' ? 'All together' : capital(CALLED[m]))));
  return h('div', {}, h('div', { class: 'chart-box' }, chart, slider), h('div', { class: 'row' }, key, told));
}
