/** Keys, and the dialog that lists them. */

import { button, dialog, h } from './dom.js';

const KEYS = [
  ['/', 'Find a video by name'],
  ['J, K', 'Next result, the one before'],
  ['Space or Enter', 'Play or pause, on a picture'],
  ['L', 'More like this, on a result'],
  ['C', 'Compare with the query, on a result'],
  ['I, O', 'The query begins, ends at the second that is shown'],
  ['← →', 'Back and forth on a timeline'],
  ['Esc', 'Leave a dialog, forget a region'],
  ['?', 'This list'],
];

const off = () => localStorage.getItem('keys') === 'off';

/** Return the button of the list, and listen. Views react to `pagekey` events on the document. */
export function offerKeys() {
  addEventListener('keydown', (event) => {
    const typing = event.target.closest?.('input:not([type=range]):not([type=checkbox]), select, textarea, dialog');
    if (event.ctrlKey || event.metaKey || event.altKey || typing || off()) return;
    if (event.key === '?') {
      event.preventDefault();
      show();
      return;
    }
    const told = new CustomEvent('pagekey', { detail: event.key.toLowerCase(), cancelable: true });
    if (!document.dispatchEvent(told)) event.preventDefault();
  });
  return button('Keys', 'keys', show, { quiet: true });
}

function show() {
  const box = h('input', {
    type: 'checkbox', checked: !off(),
    on: { change: () => localStorage.setItem('keys', box.checked ? 'on' : 'off') },
  });
  dialog('Keys',
    h('dl', { class: 'keys' }, KEYS.map(([key, what]) => [h('dt', {}, h('kbd', {}, key)), h('dd', {}, what)])),
    h('label', { class: 'check' }, box, h('span', {}, 'Single keys do this')));
}
