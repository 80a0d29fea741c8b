/** Elements, icons and short-lived messages. Text only ever enters as text, never as markup. */

const SVG = 'http://www.w3.org/2000/svg';

/**
 * Make an element. Props: `class`, `style` (an object), `data` (an object), `on` (listeners by
 * event), properties of the element, else attributes; undefined, null and false are left out.
 */
export function h(tag, props = {}, ...children) {
  return dress(document.createElement(tag), props, children);
}

/** Make an SVG element, as `h` does. */
export function svg(tag, props = {}, ...children) {
  return dress(document.createElementNS(SVG, tag), props, children);
}

function dress(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === 'class') element.setAttribute('class', value);
    else if (name === 'style') Object.assign(element.style, value);
    else if (name === 'data') Object.assign(element.dataset, value);
    else if (name === 'on') for (const [e, f] of Object.entries(value)) element.addEventListener(e, f);
    else if (name in element && !(element instanceof SVGElement)) element[name] = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat(2).filter((c) => c !== undefined && c !== null && c !== false));
  return element;
}

const ICONS = {
  search: 'M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zm5 12 5 5',
  browse: 'M4 4h6v6H4zM14 4h6v6h-6zM4 14h6v6H4zM14 14h6v6h-6z',
  map: 'M6 6h.01M10 14h.01M16 8h.01M18 16h.01M7 18h.01M13 11h.01M13 19h.01',
  compare: 'M3 6h8v12H3zM13 6h8v12h-8z',
  duplicates: 'M8 8h12v12H8zM16 8V4H4v12h4',
  ingest: 'M12 16V4m0 12-5-5m5 5 5-5M4 20h16',
  play: 'M7 4.5v15l13-7.5z',
  pause: 'M7 5v14M17 5v14',
  sound: 'M4 9v6h4l5 4V5L8 9zm12.5-.5a5 5 0 0 1 0 7M19 6a9 9 0 0 1 0 12',
  mute: 'M4 9v6h4l5 4V5L8 9zm13 1 4 4m0-4-4 4',
  full: 'M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5',
  more: 'M5 12h14M13 6l6 6-6 6',
  plus: 'M12 5v14M5 12h14',
  minus: 'M5 12h14',
  close: 'M6 6l12 12M18 6 6 18',
  light: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2m0 16v2M2 12h2m16 0h2M5 5l1.4 1.4m11.2 11.2L19 19M5 19l1.4-1.4M17.6 6.4 19 5',
  dark: 'M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z',
  keys: 'M3 7h18v11H3zM7 11h.01M11 11h.01M15 11h.01M7.5 14.5h9',
  upload: 'M12 16V5m0 0L7 10m5-5 5 5M4 20h16',
  region: 'M4 8V4h4M16 4h4v4M20 16v4h-4M8 20H4v-4',
  file: 'M6 3h8l5 5v13H6zM14 3v5h5',
  check: 'M5 12.5l4.5 4.5L19 7',
  note: 'M9 18V6l10-2v12M9 18a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0zm10-2a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0z',
  filter: 'M4 6h16M7 12h10M10 18h4',
  link: 'M10 14a4 4 0 0 0 6 0l3-3a4 4 0 0 0-6-6l-1 1m2 4a4 4 0 0 0-6 0l-3 3a4 4 0 0 0 6 6l1-1',
};

/** Return an icon, which readers of screens pass over. */
export function icon(name) {
  const solid = name === 'play';
  return svg('svg', { class: solid ? 'icon solid' : 'icon', viewBox: '0 0 24 24', 'aria-hidden': 'true' },
    svg('path', { d: ICONS[name] }));
}

/** Return a button with an icon and, unless `quiet`, its words; quiet ones have a tooltip. */
export function button(words, iconName, onClick, { quiet = false, ...props } = {}) {
  return h('button', {
    type: 'button', class: quiet ? 'quiet' : 'plain', on: { click: onClick }, ...props,
    ...(quiet ? { title: words, ariaLabel: words } : {}),
  }, iconName && icon(iconName), !quiet && h('span', {}, words));
}

/** Replace the children of an element. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(2).filter(Boolean));
  return element;
}

/** Tell readers of screens something that others see. */
export function say(words) {
  document.getElementById('said').textContent = words;
}

/** Call `f` once `ms` after the last call. */
export function debounced(f, ms) {
  let timer = 0;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => f(...args), ms);
  };
}

/** Open a dialog with a heading; it removes itself when it closes. */
export function dialog(title, ...content) {
  const id = `dialog-${Math.random().toString(36).slice(2)}`;
  const box = h('dialog', { class: 'dialog', 'aria-labelledby': id },
    h('div', { class: 'dialog-head' }, h('h2', { id }, title),
      button('Close', 'close', () => box.close(), { quiet: true })),
    ...content);
  box.addEventListener('click', (event) => event.target === box && box.close());
  const opener = document.activeElement;
  box.addEventListener('close', () => {
    box.remove();
    if (opener?.isConnected) opener.focus();
  });
  document.body.append(box);
  box.showModal();
  return box;
}

/** Return an image that gives way to a plain field with an icon where it cannot be had. */
export function picture(src, alt, { kind = 'file', ...props } = {}) {
  const image = h('img', { alt, loading: 'lazy', decoding: 'async', ...props });
  image.addEventListener('error', () => {
    const gone = h('span', { class: 'no-picture', role: 'img', ariaLabel: `No picture: ${alt}` }, icon(kind));
    image.replaceWith(gone);
  });
  image.src = src;
  return image;
}

export const calm = () => matchMedia('(prefers-reduced-motion: reduce)').matches;
