/** Stored videos to choose from: found by name, shown as pictures. */

import { address, ask, partOf } from './api.js';
import { debounced, dialog, fill, h, say } from './dom.js';
import { still } from './still.js';
import { clock, count, parts } from './words.js';

/**
 * Return a tile of a stored video: a link, or a button where `onPick` is given. Its picture moves
 * while it is pointed at or has the focus.
 */
export function tile(video, { href, onPick } = {}) {
  const { name, folder, library } = parts(video.video_id);
  const onPicture = (image) => livens(element, image, partOf(video.video_id, 'preview'));
  const body = [
    h('span', { class: 'tile-picture' }, h('span'),
      video.duration_s > 0 && h('span', { class: 'time' }, clock(video.duration_s))),
    h('span', { class: 'tile-name' }, h('bdi', {}, name)),
    h('span', { class: 'soft' }, h('bdi', {}, video.label || folder || library)),
  ];
  const element = onPick
    ? h('button', { type: 'button', class: 'tile', on: { click: () => onPick(video) } }, body)
    : h('a', { class: 'tile', href }, body);
  element.title = video.video_id;
  body[0].firstChild.replaceWith(still(video.video_id, { modalities: video.modalities, onPicture }));
  return element;
}

/** Show an animated preview in place of a still while an element is pointed at or focused. */
function livens(element, image, preview) {
  const frame = image.src;
  let timer = 0;
  const start = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const moving = new Image();
      moving.onload = () => { if (element.matches(':hover, :focus-visible')) image.src = preview; };
      moving.src = preview;
    }, 150);
  };
  const stop = () => {
    clearTimeout(timer);
    if (image.src !== frame) image.src = frame;
  };
  element.addEventListener('pointerenter', start);
  element.addEventListener('pointerleave', stop);
  element.addEventListener('focus', start);
  element.addEventListener('blur', stop);
}

/** Return a field to find stored videos by name, over the tiles of those found. */
export function chooser({ onPick, href, limit = 12, words = 'Find a stored video by name' }) {
  const found = h('div', { class: 'tiles' });
  const told = h('p', { class: 'soft', role: 'status' });
  let control = null;
  const field = h('input', {
    type: 'search', placeholder: words, ariaLabel: words, class: 'find', autocomplete: 'off', spellcheck: false,
    on: { input: debounced(() => look(), 150) },
  });
  async function look() {
    control?.abort();
    control = new AbortController();
    const contains = field.value.trim();
    try {
      const path = address('/v1/videos', { contains, limit });
      const { videos, total } = await ask(path, { signal: control.signal });
      fill(found, videos.map((v) => tile(v, onPick ? { onPick } : { href: href(v) })));
      told.textContent = total > videos.length
        ? `${videos.length} of ${count(total, 'video')}`
        : contains && !total ? `No video has “${contains}” in its name.` : '';
      return total;
    } catch (error) {
      if (error.name !== 'AbortError') told.textContent = error.message;
      return null;
    }
  }
  return { element: h('div', { class: 'chooser' }, field, told, found), field, look };
}

/** Let a person choose a stored video in a dialog. */
export function choose(title, onPick) {
  const found = chooser({ onPick: (video) => { box.close(); onPick(video.video_id); } });
  const box = dialog(title, found.element);
  found.field.focus();
  found.look();
  say(title);
}
