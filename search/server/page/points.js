/** Points on a canvas: drawn, moved, zoomed, and found under the pointer. */

const CELLS = 64;
const NEAREST = 0.9;
const CLOSEST = 60;
const TRAVEL_MS = 900;

const clamp = (x, low, high) => Math.min(high, Math.max(low, x));

export class Points {
  /** Args: a canvas; `onMoved` is called after each pan or zoom. */
  constructor(canvas, onMoved) {
    this.canvas = canvas;
    this.context = canvas.getContext('2d', { alpha: true });
    this.onMoved = onMoved;
    this.x = this.y = new Float32Array(0);
    this.group = new Uint16Array(0);
    this.colours = [];
    this.dim = new Uint8Array(0);
    this.chosen = new Set();
    this.brush = null;
    this.under = -1;
    this.reset();
    new ResizeObserver(() => this.fit()).observe(canvas);
  }

  /** Show points at x and y in -1..1, as arrays of equal length; `from` is where they come from. */
  set(x, y, from = null) {
    this.x = Float32Array.from(x);
    this.y = Float32Array.from(y);
    this.dim = new Uint8Array(x.length);
    this.grid = new Map();
    for (let n = 0; n < x.length; n += 1) {
      const cell = this._cell(x[n], y[n]);
      if (!this.grid.has(cell)) this.grid.set(cell, []);
      this.grid.get(cell).push(n);
    }
    this.chosen.clear();
    this._travel(from);
    this.draw();
  }

  /** Move the points to their places from where they were. */
  _travel(from) {
    const [x, y] = [this.x, this.y];
    const began = performance.now();
    const step = () => {
      // Other points were set meanwhile.
      if (this.goal !== x) return;
      const part = from ? Math.min(1, (performance.now() - began) / TRAVEL_MS) : 1;
      const eased = 1 - (1 - part) ** 3;
      this.x = part < 1 ? x.map((v, n) => from.x[n] + (v - from.x[n]) * eased) : x;
      this.y = part < 1 ? y.map((v, n) => from.y[n] + (v - from.y[n]) * eased) : y;
      this.draw();
      if (part < 1) requestAnimationFrame(step);
    };
    this.goal = x;
    step();
  }

  /** Colour point n by `colours[group[n]]`; `dim` has 1 for points that step back. */
  paint(group, colours, dim) {
    this.group = group;
    this.colours = colours;
    this.dim = dim;
    this.rgb = null;
    this.draw();
  }

  _cell(x, y) {
    const at = (v) => clamp(Math.floor(((v + 1) / 2) * CELLS), 0, CELLS - 1);
    return at(x) * CELLS + at(y);
  }

  reset() {
    this.zoom = NEAREST;
    this.cx = this.cy = 0;
    this.draw();
    this.onMoved?.();
  }

  fit() {
    const ratio = Math.min(2, devicePixelRatio || 1);
    const { clientWidth, clientHeight } = this.canvas;
    if (!clientWidth) return;
    this.width = clientWidth;
    this.height = clientHeight;
    this.ratio = ratio;
    this.canvas.width = Math.round(clientWidth * ratio);
    this.canvas.height = Math.round(clientHeight * ratio);
    this._paint();
  }

  /** Pixels per unit. */
  get scale() {
    return (Math.min(this.width, this.height) / 2) * this.zoom;
  }

  /** Return where a point of the map lies on the canvas, in CSS pixels. */
  toScreen(x, y) {
    return [this.width / 2 + (x - this.cx) * this.scale, this.height / 2 - (y - this.cy) * this.scale];
  }

  toMap(px, py) {
    return [this.cx + (px - this.width / 2) / this.scale, this.cy - (py - this.height / 2) / this.scale];
  }

  pan(dx, dy) {
    this.cx = clamp(this.cx - dx / this.scale, -1.2, 1.2);
    this.cy = clamp(this.cy + dy / this.scale, -1.2, 1.2);
    this.draw();
    this.onMoved?.();
  }

  /** Zoom by a factor so that what lies at a place of the canvas stays there. */
  zoomAt(factor, px = this.width / 2, py = this.height / 2) {
    const [x, y] = this.toMap(px, py);
    this.zoom = clamp(this.zoom * factor, NEAREST * 0.7, CLOSEST);
    this.cx = x - (px - this.width / 2) / this.scale;
    this.cy = y + (py - this.height / 2) / this.scale;
    this.pan(0, 0);
  }

  /** Return the number of the point nearest to a place of the canvas, -1 for none within reach. */
  at(px, py, reach = 10) {
    const [x, y] = this.toMap(px, py);
    const r = reach / this.scale;
    let [best, nearest] = [-1, r * r];
    for (const n of this._within(x - r, x + r, y - r, y + r)) {
      const d = (this.x[n] - x) ** 2 + (this.y[n] - y) ** 2;
      if (d < nearest && !this.dim[n]) [best, nearest] = [n, d];
    }
    return best;
  }

  /** Yield the points of a rectangle of the map. */
  * _within(x0, x1, y0, y1) {
    const at = (v) => clamp(Math.floor(((v + 1) / 2) * CELLS), 0, CELLS - 1);
    for (let i = at(x0); i <= at(x1); i += 1) {
      for (let j = at(y0); j <= at(y1); j += 1) {
        for (const n of this.grid?.get(i * CELLS + j) ?? []) {
          if (this.x[n] >= x0 && this.x[n] <= x1 && this.y[n] >= y0 && this.y[n] <= y1) yield n;
        }
      }
    }
  }

  /** Return the points in a rectangle of the canvas, those nearest to its middle first. */
  inside(px0, py0, px1, py1) {
    const [x0, y1] = this.toMap(Math.min(px0, px1), Math.min(py0, py1));
    const [x1, y0] = this.toMap(Math.max(px0, px1), Math.max(py0, py1));
    const [mx, my] = [(x0 + x1) / 2, (y0 + y1) / 2];
    const far = (n) => (this.x[n] - mx) ** 2 + (this.y[n] - my) ** 2;
    return [...this._within(x0, x1, y0, y1)].filter((n) => !this.dim[n]).sort((a, b) => far(a) - far(b));
  }

  /** Draw at the next frame. */
  draw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      if (this.width) this._paint();
    });
  }

  /** Return the cover of a circle's pixels, 0..255, and their offsets from its corner. */
  _stamp(radius) {
    if (this.stamp?.radius === radius) return this.stamp;
    const side = 2 * Math.ceil(radius) + 1;
    const [cells, covers] = [[], []];
    for (let j = 0; j < side; j += 1) {
      for (let i = 0; i < side; i += 1) {
        const cover = clamp(radius + 0.5 - Math.hypot(i - (side - 1) / 2, j - (side - 1) / 2), 0, 1);
        if (cover > 0) {
          cells.push(j * this.canvas.width + i);
          covers.push(Math.round(255 * cover));
        }
      }
    }
    this.stamp = { radius, side, cells: Int32Array.from(cells), covers: Uint8Array.from(covers) };
    return this.stamp;
  }

  /** Return colours as numbers of a pixel, blue in the higher bytes, without opacity. */
  _pixels() {
    if (this.rgb) return this.rgb;
    const one = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
    this.rgb = Uint32Array.from(this.colours, (colour) => {
      one.fillStyle = colour;
      one.fillRect(0, 0, 1, 1);
      const [r, g, b] = one.getImageData(0, 0, 1, 1).data;
      return (b << 16) | (g << 8) | r;
    });
    return this.rgb;
  }

  /**
   * Write the points into the picture's own memory. Where there is no graphics card, that takes a
   * few milliseconds for 13,320 of them, and as many calls of the canvas ten times as long.
   */
  _paint() {
    const { context: c, ratio, x, y, group, dim } = this;
    const [w, hh] = [this.canvas.width, this.canvas.height];
    if (!this.colours.length || !w) return c.clearRect(0, 0, w, hh);
    if (this.image?.width !== w || this.image.height !== hh) {
      this.image = c.createImageData(w, hh);
      this.memory = new Uint32Array(this.image.data.buffer);
      this.stamp = null;
    }
    const { memory } = this;
    memory.fill(0);
    const rgb = this._pixels();
    const size = clamp(1.6 * this.zoom ** 0.45 * (x.length < 2000 ? 1.9 : 1), 1.4, 8);
    const { side, cells, covers } = this._stamp(Math.round(size * ratio * 2) / 2);
    const scale = this.scale * ratio;
    const [ox, oy] = [w / 2 - this.cx * scale - side / 2, hh / 2 + this.cy * scale - side / 2];
    for (const faint of [1, 0]) {
      for (let n = 0; n < x.length; n += 1) {
        if (dim[n] !== faint) continue;
        const px = Math.round(ox + x[n] * scale);
        const py = Math.round(oy - y[n] * scale);
        if (px < 0 || py < 0 || px + side > w || py + side > hh) continue;
        const [start, colour] = [py * w + px, rgb[group[n]]];
        for (let k = 0; k < cells.length; k += 1) {
          const at = start + cells[k];
          const cover = faint ? covers[k] >> 3 : covers[k];
          const before = memory[at] >>> 24;
          if (cover >= before) memory[at] = (cover << 24) | colour;
          else if (cover > 127) memory[at] = (before << 24) | colour;
        }
      }
    }
    c.putImageData(this.image, 0, 0);
    this._ring([...this.chosen], side / 2 + 1.5 * ratio);
    if (this.under >= 0) this._ring([this.under], side / 2 + 4 * ratio);
    this._drawBrush();
    return undefined;
  }

  _ring(points, radius) {
    const { context: c, ratio } = this;
    c.strokeStyle = getComputedStyle(this.canvas).color;
    c.lineWidth = 1.5 * ratio;
    c.beginPath();
    for (const n of points) {
      const [px, py] = this.toScreen(this.x[n], this.y[n]);
      c.moveTo(px * ratio + radius, py * ratio);
      c.arc(px * ratio, py * ratio, radius, 0, 2 * Math.PI);
    }
    c.stroke();
  }

  _drawBrush() {
    if (!this.brush) return;
    const { context: c, ratio } = this;
    const [x0, y0, x1, y1] = this.brush.map((v) => v * ratio);
    c.strokeStyle = getComputedStyle(this.canvas).color;
    c.setLineDash([4 * ratio, 3 * ratio]);
    c.strokeRect(x0, y0, x1 - x0, y1 - y0);
    c.setLineDash([]);
  }
}
