/** The map: stored videos as points, near to each other where they are alike. */

import { address, ask } from './api.js';
import { tile } from './chooser.js';
import { button, calm, debounced, fill, h, say } from './dom.js';
import { empty } from './empty.js';
import { Points } from './points.js';
import { still } from './still.js';
import { searchFor } from './view.js';
import { CALLED, MODALITIES, capital, count, parts } from './words.js';

/** Tiles beside the map. */
const LISTED = 24;

/** Entries of the legend before the rest is one. */
const NAMED = 40;

/** Time after which a map that is being refined is asked for again. */
const REFINED_MS = 3000;

const ZOOM_STEP = 1.3;
const PAN_STEP = 60;

export function mount(root, page) {
  const canvas = h('canvas', { class: 'points', tabIndex: 0, role: 'application' });
  const tip = h('div', { class: 'tip', hidden: true });
  const stage = h('div', { class: 'stage' }, canvas, tip);
  const by = h('select', { on: { change: () => page.go({ by: by.value === 'fused' ? '' : by.value }) } },
    ['fused', ...MODALITIES].map((m) => h('option', { value: m }, m === 'fused' ? 'All together' : capital(CALLED[m]))));
  const colour = h('select', { on: { change: () => page.go({ colour: colour.value === 'label' ? '' : colour.value }) } },
    [['label', 'Label'], ['cluster', 'Cluster'], ['library', 'Library']].map(([value, words]) => h('option', { value }, words)));
  const title = h('h1', {}, 'Map');
  const told = h('p', { class: 'soft', role: 'status' });
  const legend = h('div', { class: 'legend map-legend' });
  const listTitle = h('h2', {}, 'In view');
  const list = h('div', { class: 'tiles' });
  let brushing = false;
  const brushButton = button('Select', 'region', () => {
    brushing = !brushing;
    brushButton.setAttribute('aria-pressed', String(brushing));
    stage.classList.toggle('is-brushing', brushing);
    if (!brushing) choose([]);
  }, { class: 'chip', ariaPressed: 'false' });
  const tools = h('div', { class: 'stage-tools' }, brushButton,
    button('Closer', 'plus', () => points.zoomAt(ZOOM_STEP), { quiet: true }),
    button('Farther', 'minus', () => points.zoomAt(1 / ZOOM_STEP), { quiet: true }),
    button('All', 'full', () => points.reset(), { quiet: true }));
  stage.append(tools);
  fill(root, h('div', { class: 'map' },
    h('div', { class: 'bar-top' }, title, h('div', { class: 'row' },
      h('label', { class: 'row' }, 'Near by', by), h('label', { class: 'row' }, 'Coloured by', colour))),
    told,
    h('div', { class: 'map-two' }, h('div', {}, stage, legend),
      h('section', { class: 'panel map-list', ariaLabel: 'Videos of the map' }, listTitle, list))));

  const points = new Points(canvas, debounced(() => listInView(), 250));
  let found = null;
  let asked = '';
  let control = null;
  let later = 0;

  async function look(view) {
    const path = address('/v1/map', { modality: view.by || 'fused', library: view.library });
    if (path === asked) {
      if (found) paint(view);
      return;
    }
    asked = path;
    clearTimeout(later);
    control?.abort();
    control = new AbortController();
    told.textContent = 'Drawing the map…';
    try {
      const before = found;
      found = await ask(path, { signal: control.signal });
      told.textContent = found.refining ? 'A first sketch; a better map is being drawn.' : '';
      if (found.refining) later = setTimeout(() => { asked = ''; look(page.view); }, REFINED_MS);
      title.textContent = `Map of ${count(found.ids.length, 'video')}`;
      canvas.setAttribute('aria-label', `${title.textContent}. Arrow keys move it, plus and minus zoom, 0 shows all; the list tells what is in view.`);
      if (!found.ids.length) {
        fill(root, empty(page));
        return;
      }
      const again = before?.ids.length === found.ids.length;
      points.set(found.x, found.y, again && !calm() ? places(before, found.ids) : null);
      paint(view);
      if (!again) points.reset();
      say(title.textContent);
    } catch (error) {
      if (error.name === 'AbortError') return;
      asked = '';
      told.textContent = error.message;
    }
  }

  /** Colour the points by label, cluster or library; labels that are facets stand out. */
  function paint(view) {
    const kind = view.colour || 'label';
    const of = { label: found.labels, cluster: found.clusters.map((c) => (c < 0 ? '' : `Cluster ${c + 1}`)), library: found.ids.map((id) => parts(id).library) }[kind];
    const counts = new Map();
    for (const value of of) counts.set(value, (counts.get(value) ?? 0) + 1);
    const order = [...counts].sort(([a, m], [b, n]) => n - m || String(a).localeCompare(b)).map(([value]) => value);
    const number = new Map(order.map((value, n) => [value, n]));
    const style = getComputedStyle(canvas);
    const [light, chroma] = [style.getPropertyValue('--light').trim() || '60%', 0.15];
    // The golden angle keeps hues apart, however many there are.
    const colours = order.map((value, n) => (value === '' ? 'gray' : `oklch(${light} ${chroma} ${(250 + n * 137.508) % 360})`));
    const facet = { label: view.label, library: view.library, cluster: [] }[kind];
    const picked = new Set(facet);
    points.paint(Uint16Array.from(of, (v) => number.get(v)), colours,
      Uint8Array.from(of, (v) => (picked.size && !picked.has(v) ? 1 : 0)));
    fill(legend, order.slice(0, NAMED).map((value, n) => {
      const swatch = h('i', { style: { background: colours[n] } });
      const words = [swatch, h('bdi', {}, value || 'without'), h('span', { class: 'number' }, counts.get(value).toLocaleString('en'))];
      if (kind !== 'label' || !value) return h('span', { class: 'key' }, words);
      return h('button', {
        type: 'button', class: 'key', ariaPressed: String(picked.has(value)),
        on: { click: () => page.go({ label: picked.has(value) ? view.label.filter((l) => l !== value) : [...view.label, value] }) },
      }, words);
    }), order.length > NAMED && h('span', { class: 'soft' }, `and ${order.length - NAMED} more`));
    listInView();
  }

  function choose(numbers) {
    points.chosen = new Set(numbers);
    points.draw();
    listInView();
  }

  function listInView() {
    if (!found || !points.width) return;
    const chosen = [...points.chosen];
    const numbers = chosen.length ? chosen : points.inside(0, 0, points.width, points.height);
    listTitle.textContent = chosen.length ? `${count(chosen.length, 'video')} selected` : `${numbers.length.toLocaleString('en')} in view`;
    fill(list, numbers.slice(0, LISTED).map((n) => {
      const item = tile({ video_id: found.ids[n], label: found.labels[n], duration_s: 0 }, { href: href(n) });
      item.addEventListener('pointerenter', () => { points.under = n; points.draw(); });
      item.addEventListener('focus', () => { points.under = n; points.draw(); });
      return item;
    }), numbers.length > LISTED && h('p', { class: 'soft' }, `and ${(numbers.length - LISTED).toLocaleString('en')} more; zoom in or select fewer.`));
  }

  const href = (n) => page.href(searchFor(page.view, found.ids[n]));

  function hover(px, py, touched = false) {
    const n = found ? points.at(px, py, touched ? 22 : 10) : -1;
    stage.classList.toggle('is-over', n >= 0);
    if (n === points.under) return n;
    points.under = n;
    points.draw();
    tip.hidden = n < 0;
    if (n < 0) return n;
    const id = found.ids[n];
    const [x, y] = points.toScreen(points.x[n], points.y[n]);
    fill(tip, still(id),
      h('strong', {}, h('bdi', {}, parts(id).name)), h('span', { class: 'soft' }, h('bdi', {}, found.labels[n])),
      touched && h('a', { href: href(n), class: 'primary small' }, 'More like this'));
    tip.style.left = `${Math.min(Math.max(8, x + 14), points.width - 190)}px`;
    tip.style.top = `${y > points.height / 2 ? Math.max(8, y - 190) : y + 14}px`;
    return n;
  }

  listen(canvas, points, {
    brushing: () => brushing,
    hover,
    pick: (n) => page.go(searchFor(page.view, found.ids[n])),
    choose,
    leave: () => hover(-99, -99),
  });
  const onTheme = () => found && paint(page.view);
  addEventListener('themechange', onTheme);
  return {
    update(view) {
      by.value = view.by || 'fused';
      colour.value = view.colour || 'label';
      look(view);
    },
    leave() {
      clearTimeout(later);
      control?.abort();
      removeEventListener('themechange', onTheme);
    },
  };
}

/** Return where videos lay on another map; those that are new come from the middle. */
function places(before, ids) {
  const number = new Map(before.ids.map((id, n) => [id, n]));
  return { x: ids.map((id) => before.x[number.get(id)] ?? 0), y: ids.map((id) => before.y[number.get(id)] ?? 0) };
}

/** Pointer, wheel and keys of the map. */
function listen(canvas, points, on) {
  const down = new Map();
  let start = null;
  let moved = false;
  const place = (event) => [event.offsetX, event.offsetY];

  canvas.addEventListener('pointerdown', (event) => {
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, place(event));
    start = place(event);
    moved = false;
  });
  canvas.addEventListener('pointermove', (event) => {
    const here = place(event);
    const before = down.get(event.pointerId);
    if (!before) {
      on.hover(...here);
      return;
    }
    moved ||= Math.hypot(here[0] - start[0], here[1] - start[1]) > 4;
    if (down.size === 2) {
      const [other] = [...down].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
      const apart = (at) => Math.hypot(at[0] - other[0], at[1] - other[1]);
      points.zoomAt(apart(here) / Math.max(1, apart(before)), (here[0] + other[0]) / 2, (here[1] + other[1]) / 2);
    } else if (moved && (on.brushing() || event.shiftKey)) {
      points.brush = [...start, ...here];
      points.draw();
    } else if (moved) {
      on.leave();
      points.pan(here[0] - before[0], here[1] - before[1]);
    }
    down.set(event.pointerId, here);
  });
  const up = (event) => {
    if (!down.delete(event.pointerId)) return;
    if (points.brush) {
      const chosen = points.inside(...points.brush);
      points.brush = null;
      on.choose(chosen);
    } else if (!moved && event.type === 'pointerup') {
      const n = on.hover(...place(event), event.pointerType === 'touch');
      if (n >= 0 && event.pointerType !== 'touch') on.pick(n);
      else if (n < 0 && points.chosen.size) on.choose([]);
    }
  };
  canvas.addEventListener('pointerup', up);
  canvas.addEventListener('pointercancel', up);
  canvas.addEventListener('pointerleave', () => down.size || on.leave());
  canvas.addEventListener('wheel', (event) => {
    event.preventDefault();
    points.zoomAt(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), ...place(event));
  }, { passive: false });
  canvas.addEventListener('keydown', (event) => {
    const pans = { ArrowLeft: [PAN_STEP, 0], ArrowRight: [-PAN_STEP, 0], ArrowUp: [0, PAN_STEP], ArrowDown: [0, -PAN_STEP] };
    if (pans[event.key]) points.pan(...pans[event.key]);
    else if (event.key === '+' || event.key === '=') points.zoomAt(ZOOM_STEP);
    else if (event.key === '-') points.zoomAt(1 / ZOOM_STEP);
    else if (event.key === '0') points.reset();
    else return;
    event.preventDefault();
  });
}
