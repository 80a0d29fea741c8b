/** Clips from outside: dropped anywhere, pasted, or chosen; sent, then searched with. */

import { upload } from './api.js';
import { button, fill, h, icon, say } from './dom.js';
import { searchFor } from './view.js';

const KINDS = 'video/*,audio/*,image/*';

/** Return a field that takes files by click, key or drop; one with words of its own is small. */
export function dropField(onFiles, { words = '', id = 'file-big' } = {}) {
  const input = h('input', {
    type: 'file', accept: KINDS, multiple: true, class: 'unseen', id,
    on: { change: () => { if (input.files.length) onFiles([...input.files]); input.value = ''; } },
  });
  return h('label', { class: words ? 'drop small' : 'drop' }, input, icon('upload'), words
    ? h('span', {}, words)
    : [h('strong', {}, 'Drop a clip, a picture or a sound'), h('span', {}, 'or choose a file, or paste a picture')]);
}

/** Take files that are dropped anywhere on the page, or pasted. */
export function takeDrops(page) {
  const veil = h('div', { class: 'veil', hidden: true, 'aria-hidden': 'true' }, h('p', {}, icon('upload'), 'Drop to search with it'));
  document.body.append(veil);
  const files = (event) => [...(event.dataTransfer?.types ?? [])].includes('Files');
  let depth = 0;
  addEventListener('dragenter', (event) => {
    if (!files(event)) return;
    event.preventDefault();
    depth += 1;
    veil.hidden = false;
  });
  addEventListener('dragover', (event) => files(event) && event.preventDefault());
  addEventListener('dragleave', () => {
    depth = Math.max(0, depth - 1);
    veil.hidden = depth === 0;
  });
  addEventListener('drop', (event) => {
    depth = 0;
    veil.hidden = true;
    if (!files(event)) return;
    event.preventDefault();
    searchByFiles(page, [...event.dataTransfer.files]);
  });
  addEventListener('paste', (event) => {
    const pasted = [...(event.clipboardData?.files ?? [])];
    if (pasted.length) searchByFiles(page, pasted);
  });
}

/** Send files, and show what is like them. */
export async function searchByFiles(page, files) {
  const tokens = await send(files);
  if (!tokens) return;
  page.go({ ...searchFor(page.view, tokens[0]), like: tokens });
}

/** Send files one after another, with a bar that tells how far; null where that was called off. */
export async function send(files) {
  const control = new AbortController();
  const bar = h('progress', { max: files.length, value: 0, ariaLabel: 'Sending' });
  const words = h('span', {}, `Sending ${files[0].name}`);
  const toast = h('div', { class: 'toast' }, words, bar,
    button('Cancel', 'close', () => control.abort(), { quiet: true }));
  document.body.append(toast);
  say(words.textContent);
  try {
    const tokens = [];
    for (const [n, file] of files.entries()) {
      words.textContent = `Sending ${file.name}`;
      tokens.push(await upload(file, (part) => {
        bar.value = n + part;
        if (part >= 1) words.textContent = `Reading ${file.name}`;
      }, control.signal));
    }
    toast.remove();
    say(files.length > 1 ? `${files.length} files are sent.` : `${files[0].name} is sent.`);
    return tokens;
  } catch (error) {
    say('');
    if (error.name === 'AbortError') {
      toast.remove();
      return null;
    }
    toast.classList.add('is-error');
    toast.setAttribute('role', 'alert');
    fill(toast, h('span', {}, error.message), button('Close', 'close', () => toast.remove(), { quiet: true }));
    return null;
  }
}
