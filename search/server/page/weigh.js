/** What counts: a weight for each modality, which ranks again at once. */

import { fill, h } from './dom.js';
import { CALLED, MODALITIES, WEIGHTS, capital } from './words.js';

const MOST = 3;

const PRESETS = [
  ['Balanced', null],
  ['Looks', { frame: 2, color: 1, audio: 0, motion: 0 }],
  ['Sounds', { frame: 0, color: 0, audio: 1, motion: 0 }],
  ['Moves', { frame: 0, color: 0, audio: 0, motion: 1 }],
];

/** Return the modalities that have a weight, null for all; 0 leaves one out. */
export function counted(view) {
  const left = MODALITIES.filter((m) => (view.weights?.[m] ?? 1) > 0);
  return left.length === MODALITIES.length ? null : left;
}

/** Return the weights above 0 of a view, null for the server's. */
export function weightsOf(view) {
  if (!view.weights) return null;
  return Object.fromEntries(Object.entries(view.weights).filter(([, w]) => w > 0));
}

/** Return the sliders as {element, update}. */
export function weigh(page) {
  const missing = new Set();
  const rows = Object.fromEntries(MODALITIES.map((modality) => {
    const slider = h('input', {
      type: 'range', min: 0, max: MOST, step: 0.05, id: `weight-${modality}`, class: `slider ${modality}`,
      on: {
        input: () => {
          const weights = { ...WEIGHTS, ...page.view.weights, [modality]: Number(slider.value) };
          // Something has to count.
          if (Object.values(weights).every((w) => w === 0)) weights[modality] = 0.05;
          page.go({ weights, modality: [] }, { merge: 'weights' });
        },
      },
    });
    const number = h('output', { htmlFor: slider.id });
    const row = h('div', { class: 'weight' }, h('label', { htmlFor: slider.id }, capital(CALLED[modality])), slider, number);
    return [modality, { slider, number, row }];
  }));
  const presets = h('div', { class: 'chips', role: 'group', ariaLabel: 'What counts, in one step' });
  function update(view) {
    for (const [modality, { slider, number, row }] of Object.entries(rows)) {
      const weight = view.weights?.[modality] ?? WEIGHTS[modality];
      slider.value = weight;
      slider.style.setProperty('--part', `${(100 * weight) / MOST}%`);
      number.textContent = missing.has(modality) ? 'none' : weight === 0 ? 'off' : weight.toFixed(2);
      slider.setAttribute('aria-valuetext', weight === 0 ? 'left out' : weight.toFixed(2));
      row.classList.toggle('is-off', weight === 0 || missing.has(modality));
    }
    fill(presets, PRESETS.map(([words, weights]) => h('button', {
      type: 'button', class: 'chip', ariaPressed: String(same(view.weights, weights)),
      on: { click: () => page.go({ weights: weights && { ...weights } }) },
    }, words)));
  }
  const element = h('fieldset', { class: 'weigh' }, h('legend', {}, 'What counts'), presets,
    Object.values(rows).map(({ row }) => row));
  return {
    element,
    update,
    /** Mark the modalities that the query has not. */
    lacks(modalities) {
      missing.clear();
      modalities.forEach((m) => missing.add(m));
      update(page.view);
    },
  };
}

function same(a, b) {
  if (!a || !b) return !a && !b;
  return MODALITIES.every((m) => (a[m] ?? WEIGHTS[m]) === (b[m] ?? WEIGHTS[m]));
}
