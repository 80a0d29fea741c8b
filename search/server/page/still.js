/** A small picture of a clip: a frame, or the spectrogram of what has none. */

import { details, partOf } from './api.js';
import { h, picture } from './dom.js';
import { whenSeen } from './player.js';

/**
 * Return the picture of a clip in a span, which the picture fills.
 *
 * Args: `modalities` are the clip's, where they are known; else they are asked for first, as a
 * frame of a sound would be refused.
 */
export function still(clip, { size = 240, modalities, onPicture } = {}) {
  const place = h('span', { class: 'still' });
  const show = (isSound) => {
    const image = picture(isSound ? partOf(clip, 'spectrogram') : partOf(clip, 'thumbnail', { size }), '', { kind: isSound ? 'note' : 'play' });
    place.replaceChildren(image);
    if (!isSound) onPicture?.(image);
  };
  if (modalities) show(!modalities.some((m) => m !== 'audio'));
  else whenSeen(place, () => details(clip).then(({ kind }) => show(kind === 'sound'), () => show(false)));
  return place;
}
