/** A player that starts anywhere: the file itself where browsers play it, else a stretch of it. */

import { details, partOf } from './api.js';
import { button, h, icon, picture } from './dom.js';
import { clock, parts } from './words.js';
import { isUpload } from './view.js';

/** Longest stretch in seconds that the server makes of what browsers cannot play. */
const LONGEST_S = 60;

/** Where a stretch of a longer video begins before what is asked for, and how long it is. */
const LEAD_S = 2;
const STRETCH_S = 30;

/** What plays; whatever starts stops the rest, unless it goes along. */
const playing = new Set();

export function stopAll(except = []) {
  for (const player of playing) if (!except.includes(player)) player.pause();
}

export class Player {
  /**
   * Args:
   *   clip: Id of a stored video, or token of an upload.
   *   at: Second that its picture shows and that it plays from.
   *   moments: Stretches to mark, as {start_s, end_s}; the first is the best.
   *   has: Modalities that it is known to have; what else there is to show is asked for first.
   */
  constructor(clip, { at = 0, moments = [], has = [], name = '', onTime, onPlay, onLength, lazy = true } = {}) {
    this.clip = clip;
    this.name = name || (isUpload(clip) ? 'the uploaded clip' : parts(clip).name);
    this.at = at;
    this.onTime = onTime;
    this.onPlay = onPlay;
    this.onLength = onLength;
    this.duration = Math.max(0, ...moments.map((m) => m.end_s));
    this.offset = 0;
    this.reaches = 0;
    this.info = null;
    this.media = null;
    this._build(moments);
    if (has.some((m) => m !== 'audio')) this._showFrame();
    if (has.includes('color')) this._showStrip();
    if (lazy) whenSeen(this.element, () => this.learn());
    else this.learn().catch(() => undefined);
  }

  _build(moments) {
    this.poster = h('span', { class: 'no-picture' });
    this.big = h('button', { type: 'button', class: 'big', on: { click: () => this.toggle() } }, icon('play'));
    this.screen = h('div', { class: 'screen' }, this.poster, this.big);
    this.range = h('input', {
      type: 'range', min: 0, max: this.duration || 1, step: 0.05, value: this.at,
      ariaLabel: `Position in ${this.name}`,
      on: { input: () => this.seek(Number(this.range.value)) },
    });
    this.head = h('i', { class: 'head' });
    this.marks = h('span', { class: 'marks' });
    this.track = h('div', { class: 'track' }, this.marks, this.head, this.range);
    this.time = h('span', { class: 'time' });
    this.muteButton = button('Mute', 'sound', () => this.mute(!this.muted), { quiet: true, hidden: true });
    this.muteButton.classList.add('mute');
    this.screen.append(this.time, this.muteButton);
    this.element = h('div', { class: 'player' }, this.screen, this.track);
    this.muted = false;
    this.moments = moments;
    this._mark();
    this._words();
    this._show(this.at);
  }

  /** Learn how long the clip is and whether browsers play it. */
  async learn() {
    if (this.info) return this.info;
    try {
      this.info = await details(this.clip);
    } catch (error) {
      if (error.status !== 0) this.fail(error.message);
      throw error;
    }
    const { duration_s, kind, there, sound, width, height } = this.info;
    if (duration_s) this.duration = duration_s;
    this.range.max = this.duration || 1;
    this.element.dataset.kind = kind;
    if (width && height) this.screen.style.setProperty('--shape', `${width} / ${height}`);
    if (kind === 'sound') this._showPoster(partOf(this.clip, 'spectrogram'), 'note');
    else if (this.info.modalities?.includes('color') ?? true) this._showStrip();
    if (kind !== 'sound' && there) this._showFrame();
    if (kind === 'picture') {
      this.big.hidden = this.track.hidden = true;
      this.time.hidden = true;
    }
    if (!sound && kind === 'video') this.element.dataset.silent = '';
    if (!there) this.fail('Its file is not there any more.');
    else if (this.info.decodes === false) this.fail('Its file cannot be read any more.');
    this._mark();
    this._show(this.now);
    // How long an upload is, its metadata tell where the server has not.
    if (!duration_s && kind !== 'picture' && isUpload(this.clip)) this._load(0);
    return this.info;
  }

  _showPoster(src, kind) {
    const image = picture(src, '', { class: 'poster', kind });
    this.poster.replaceWith(image);
    this.poster = image;
  }

  /** Show the frame that it begins with. */
  _showFrame() {
    if (this.poster.tagName === 'IMG') return;
    this._showPoster(partOf(this.clip, 'thumbnail', { at_s: this.at.toFixed(2), size: 480 }), 'play');
  }

  /** Lay the timeline on the clip's colours over time. */
  _showStrip() {
    if (this.strip || this.element?.dataset.kind === 'sound') return;
    this.strip = picture(partOf(this.clip, 'strip'), '', { class: 'strip', kind: 'note' });
    this.track.prepend(this.strip);
  }

  _words() {
    const words = `${this.playing ? 'Pause' : 'Play'} ${this.name}${this.playing ? '' : ` from ${clock(this.now)}`}`;
    this.big.setAttribute('aria-label', words);
    this.big.replaceChildren(icon(this.playing ? 'pause' : 'play'));
    this.element.classList.toggle('is-playing', this.playing);
  }

  _mark() {
    const length = this.duration || 1;
    this.marks.replaceChildren(...this.moments.map((m, n) => h('i', {
      class: n ? 'mark' : 'mark best',
      style: {
        left: `${(100 * m.start_s) / length}%`,
        width: `${Math.max(1.5, (100 * (m.end_s - m.start_s)) / length)}%`,
      },
    })));
  }

  get playing() {
    return Boolean(this.media && !this.media.paused);
  }

  /** Seconds from the clip's start. */
  get now() {
    return this.media && this.reaches ? this.offset + this.media.currentTime : this.at;
  }

  _show(seconds) {
    this.head.style.left = `${Math.min(100, (100 * seconds) / (this.duration || 1))}%`;
    this.range.value = seconds;
    this.range.setAttribute('aria-valuetext', `${clock(seconds)} of ${clock(this.duration)}`);
    this.time.textContent = this.duration ? `${clock(seconds)} / ${clock(this.duration)}` : '';
  }

  /** Load what holds a second, unless it is loaded. */
  async _load(seconds) {
    const { plays, kind } = await this.learn();
    const inside = seconds >= this.offset && seconds < this.reaches;
    if (this.media && inside) return;
    if (!this.media) {
      this.media = h(kind === 'sound' ? 'audio' : 'video', { playsInline: true, preload: 'auto', loop: false });
      this.media.muted = this.muted;
      for (const event of ['play', 'pause', 'ended']) this.media.addEventListener(event, () => this._changed());
      this.media.addEventListener('error', () => this._failed());
      this.media.addEventListener('loadedmetadata', () => this._lasts());
      this.media.addEventListener('loadeddata', () => this.element.classList.add('has-picture'));
      this.poster.after(this.media);
      this.muteButton.hidden = !this.info.sound;
    }
    this.native = plays && !this.refused;
    if (this.native) {
      this.offset = 0;
      this.reaches = this.duration || Infinity;
      this.media.src = partOf(this.clip, 'media');
    } else {
      const whole = this.duration && this.duration <= LONGEST_S;
      this.offset = whole ? 0 : Math.max(0, seconds - LEAD_S);
      this.reaches = whole ? this.duration : Math.min(this.duration || Infinity, this.offset + STRETCH_S);
      const ends = Number.isFinite(this.reaches) ? this.reaches : this.offset + STRETCH_S;
      this.media.src = partOf(this.clip, 'clip', { start_s: this.offset.toFixed(2), end_s: ends.toFixed(2) });
    }
    this.element.classList.add('is-loading');
    this.media.addEventListener('canplay', () => this.element.classList.remove('is-loading'), { once: true });
  }

  _lasts() {
    if (this.info.duration_s || !this.native || !Number.isFinite(this.media.duration)) return;
    this.duration = this.reaches = this.range.max = this.media.duration;
    this._mark();
    this._show(this.now);
    this.onLength?.();
  }

  _failed() {
    this.element.classList.remove('is-loading');
    if (this.native && !this.refused) {
      // The container promised more than this browser decodes.
      this.refused = true;
      this.reaches = 0;
      this.play(this.at);
      return;
    }
    this.fail('This browser cannot play it.');
  }

  fail(message) {
    this.big.hidden = this.time.hidden = true;
    this.screen.querySelector('.failed')?.remove();
    this.screen.append(h('p', { class: 'failed' }, message));
  }

  /** Play from a second, or on. `alone` stops what else plays. */
  async play(seconds = this.now, { alone = true } = {}) {
    if (alone) stopAll([this]);
    if (this.duration && seconds >= this.duration - 0.1) seconds = 0;
    this.at = seconds;
    try {
      await this._load(seconds);
    } catch {
      return;
    }
    this._jump(seconds);
    playing.add(this);
    // A browser may refuse sound that nobody asked for; then it plays without.
    await this.media.play().catch((error) => {
      if (error.name !== 'NotAllowedError') return undefined;
      this.mute(true);
      return this.media.play().catch(() => undefined);
    });
  }

  _jump(seconds) {
    this.at = seconds;
    const set = () => { this.media.currentTime = Math.max(0, seconds - this.offset); };
    if (this.media.readyState >= 1) set();
    else this.media.addEventListener('loadedmetadata', set, { once: true });
    this._show(seconds);
  }

  /** Show another second; plays on if it played. */
  async seek(seconds) {
    const was = this.playing;
    this._show(seconds);
    this.at = seconds;
    this.onTime?.(seconds);
    if (was || this.media) {
      await this._load(seconds).catch(() => undefined);
      if (this.media) this._jump(seconds);
      if (was) this.media.play().catch(() => undefined);
    } else {
      clearTimeout(this.later);
      this.later = setTimeout(() => this._still(seconds), 150);
    }
    this._words();
  }

  /** Show a frame without loading the video. */
  _still(seconds) {
    if (this.element.dataset.kind === 'sound' || !this.poster.isConnected) return;
    this.poster.src = partOf(this.clip, 'thumbnail', { at_s: seconds.toFixed(2), size: 480 });
  }

  pause() {
    this.at = this.now;
    this.media?.pause();
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  mute(muted) {
    this.muted = muted;
    if (this.media) this.media.muted = muted;
    this.muteButton.replaceChildren(icon(muted ? 'mute' : 'sound'));
    this.muteButton.title = muted ? 'Sound on' : 'Mute';
    this.muteButton.setAttribute('aria-label', this.muteButton.title);
  }

  _changed() {
    this._words();
    if (!this.playing) {
      playing.delete(this);
      return;
    }
    this.onPlay?.(this);
    const tick = () => {
      if (!this.element.isConnected) return this.pause();
      this._show(this.now);
      this.onTime?.(this.now);
      if (this.playing) requestAnimationFrame(tick);
      return undefined;
    };
    requestAnimationFrame(tick);
  }
}

/** Return the button that plays in step, or ends that, as {element, show}. */
export function stepButton(onClick, kind) {
  const element = button('Play in step', 'play', onClick, { class: kind });
  const [, words] = element.children;
  return {
    element,
    show(plays) {
      words.textContent = plays ? 'Pause' : 'Play in step';
      element.firstChild.replaceWith(icon(plays ? 'pause' : 'play'));
    },
  };
}

/**
 * Play two or more players in step: `shifts` are seconds that each is ahead of the first;
 * `onChange` is told whether they play.
 */
export function inStep(players, shifts, onChange) {
  const [first, ...others] = players;
  let timer = 0;
  let told = false;
  const tell = () => {
    const plays = timer !== 0 && first.playing;
    if (plays !== told) onChange?.(plays);
    told = plays;
  };
  const follow = () => {
    others.forEach((other, n) => {
      const wanted = first.now + shifts[n + 1];
      const inside = wanted >= 0 && (!other.duration || wanted < other.duration - 0.05);
      if (!first.playing || !inside) return other.playing && other.pause();
      if (!other.playing) return other.play(wanted, { alone: false });
      if (Math.abs(other.now - wanted) > 0.15 && other.media.readyState >= 2) other._jump(wanted);
      return undefined;
    });
    if (!first.element.isConnected) stop();
    tell();
  };
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    players.forEach((p) => p.pause());
    tell();
  };
  return {
    get playing() { return timer !== 0 && first.playing; },
    async play(seconds) {
      stopAll(players);
      others.forEach((other) => other.mute(true));
      // All begin together, once the slowest has its picture.
      await Promise.all(players.map((p, n) => p.play(Math.max(0, seconds + shifts[n]), { alone: false })));
      clearInterval(timer);
      timer = setInterval(follow, 250);
      tell();
    },
    stop,
  };
}

const seen = new WeakMap();
const observer = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    observer.unobserve(target);
    Promise.resolve(seen.get(target)()).catch(() => undefined);
  }
}, { rootMargin: '200px' });

/** Call `f` once an element comes near the window. */
export function whenSeen(element, f) {
  seen.set(element, f);
  observer.observe(element);
}
