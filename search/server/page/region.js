/** A region of the query's picture: drawn with the pointer, or moved with the arrow keys. */

import { h, say } from './dom.js';

const LEAST = 0.04;
const STEP = 0.02;
const SETTLE_MS = 350;
const CENTRE = [0.25, 0.25, 0.5, 0.5];

const clamp = (x, low, high) => Math.min(high, Math.max(low, x));

/** Lay a region over a player's picture; `onChange` gets [x, y, w, h] as parts of it, or null. */
export class Region {
  constructor(player, onChange) {
    this.player = player;
    this.onChange = onChange;
    this.value = null;
    this.box = h('div', {
      class: 'region-box', tabIndex: 0, role: 'group', hidden: true,
      on: { keydown: (event) => this._key(event) },
    });
    this.layer = h('div', { class: 'region', hidden: true, on: { pointerdown: (event) => this._draw(event) } }, this.box);
    player.screen.append(this.layer);
    new ResizeObserver(() => this._lie()).observe(player.screen);
    player.learn().then(() => this._lie(), () => undefined);
  }

  /** Show a region, or none. */
  set(region) {
    // A change that is on its way is newer.
    if (this.timer) return;
    this.value = region;
    if (region) this.layer.hidden = false;
    else if (!this.drawing) this.layer.hidden = true;
    this._paint();
  }

  /** Begin to draw; the middle is taken first, so that keys have something to move. */
  begin() {
    this.layer.hidden = false;
    this._lie();
    this.layer.classList.add('is-drawing');
    this.drawing = true;
    if (!this.value) this._change([...CENTRE]);
    this.box.focus();
    say('Arrow keys move the region, with Shift they change its size, Escape forgets it.');
  }

  forget() {
    this.drawing = false;
    this.layer.classList.remove('is-drawing');
    this.layer.hidden = true;
    this._change(null);
  }

  /** Lie exactly on the picture, which may leave bars in the screen. */
  _lie() {
    const { poster } = this.player;
    const width = this.player.info?.width ?? poster.naturalWidth;
    const height = this.player.info?.height ?? poster.naturalHeight;
    const { clientWidth: w, clientHeight: hh } = this.player.screen;
    if (!width || !height || !w) return;
    const scale = Math.min(w / width, hh / height);
    Object.assign(this.layer.style, {
      width: `${width * scale}px`, height: `${height * scale}px`,
      left: `${(w - width * scale) / 2}px`, top: `${(hh - height * scale) / 2}px`,
    });
  }

  _change(region) {
    this.value = region;
    this._paint();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.timer = 0;
      this.onChange(region);
    }, SETTLE_MS);
  }

  _paint() {
    this.box.hidden = !this.value;
    if (!this.value) return;
    const [x, y, w, hh] = this.value.map((v) => 100 * v);
    Object.assign(this.box.style, { left: `${x}%`, top: `${y}%`, width: `${w}%`, height: `${hh}%` });
    this.box.setAttribute('aria-label', `Region: ${Math.round(w)} by ${Math.round(hh)} per cent, `
      + `${Math.round(x)} from the left, ${Math.round(y)} from the top`);
  }

  _draw(event) {
    event.preventDefault();
    clearTimeout(this.timer);
    this.timer = -1;
    this.layer.setPointerCapture(event.pointerId);
    const { left, top, width, height } = this.layer.getBoundingClientRect();
    const at = (e) => [clamp((e.clientX - left) / width, 0, 1), clamp((e.clientY - top) / height, 0, 1)];
    const [x0, y0] = at(event);
    const inside = event.target === this.box && this.value;
    const start = inside ? [...this.value] : null;
    const move = (e) => {
      const [x, y] = at(e);
      if (start) {
        this.value = [clamp(start[0] + x - x0, 0, 1 - start[2]), clamp(start[1] + y - y0, 0, 1 - start[3]), start[2], start[3]];
      } else if (Math.abs(x - x0) > LEAST && Math.abs(y - y0) > LEAST) {
        this.value = [Math.min(x, x0), Math.min(y, y0), Math.abs(x - x0), Math.abs(y - y0)];
      }
      this._paint();
    };
    const end = () => {
      this.layer.removeEventListener('pointermove', move);
      this._change(this.value);
      this.box.focus();
    };
    this.layer.addEventListener('pointermove', move);
    this.layer.addEventListener('pointerup', end, { once: true });
    this.layer.addEventListener('pointercancel', end, { once: true });
  }

  _key(event) {
    if (event.key === 'Escape') {
      event.preventDefault();
      this.forget();
      return;
    }
    const way = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key];
    if (!way || !this.value) return;
    event.preventDefault();
    const [x, y, w, hh] = this.value;
    this._change(event.shiftKey
      ? [x, y, clamp(w + way[0], LEAST, 1 - x), clamp(hh + way[1], LEAST, 1 - y)]
      : [clamp(x + way[0], 0, 1 - w), clamp(y + way[1], 0, 1 - hh), w, hh]);
  }
}
