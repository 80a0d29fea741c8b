/** How alike is alike enough: a slider over the likenesses that were found. */

import { fill, h } from './dom.js';
import { decimals } from './words.js';

/** Return the slider as {element, update, draw}. */
export function least(page) {
  const slider = h('input', {
    type: 'range', min: 0, max: 1, step: 0.01, id: 'least', class: 'slider',
    on: { input: () => page.go({ least: Number(slider.value) || null }, { merge: 'least' }) },
  });
  const number = h('output', { htmlFor: 'least' });
  const dots = h('div', { class: 'dots', 'aria-hidden': 'true' });
  const words = h('p', { class: 'soft' });
  const element = h('fieldset', { class: 'least' }, h('legend', {}, 'Alike enough'),
    h('div', { class: 'weight' }, h('label', { htmlFor: 'least' }, 'At least'), h('div', {}, dots, slider), number), words);
  return {
    element,
    update(view) {
      slider.value = view.least ?? 0;
      slider.style.setProperty('--part', `${100 * (view.least ?? 0)}%`);
      number.textContent = decimals(view.least ?? 0);
    },
    /** Show the likenesses found, and up to where chance alone reaches. */
    draw(result) {
      fill(dots, h('i', { class: 'chance', style: { width: `${100 * result.chance}%` } }),
        result.results.map((r) => h('i', { class: 'dot', style: { left: `${100 * r.likeness}%` } })));
      words.textContent = `Up to ${decimals(result.chance)} may be chance here.`;
    },
  };
}
