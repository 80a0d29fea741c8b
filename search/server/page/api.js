/** The server: requests, its sentences when it refuses, and what to do while it is busy or gone. */

import { isUpload } from './view.js';

/** Tells `lost`, `back`, `busy` (detail: seconds), `calm` and `locked` (a token is needed). */
export const server = new EventTarget();

const tell = (type, detail) => server.dispatchEvent(new CustomEvent(type, { detail }));

/** How often a busy server is asked again before its refusal is shown. */
const TRIES = 6;

export class ServerError extends Error {
  constructor(message, status, kind) {
    super(message);
    this.status = status;
    this.kind = kind;
  }
}

/** Ask for JSON. Throws ServerError with the server's sentence; AbortError where it was called off. */
export async function ask(path, { method = 'GET', body, headers = {}, signal } = {}) {
  const options = { method, signal, headers: { ...headers }, credentials: 'same-origin' };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers['Content-Type'] = 'application/json';
  }
  for (let attempt = 1; ; attempt += 1) {
    let response;
    try {
      response = await fetch(path, options);
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      watch();
      throw new ServerError('The server does not answer.', 0, 'Lost');
    }
    if (response.status === 429 && attempt < TRIES) {
      const wait_s = Math.min(30, Number(response.headers.get('Retry-After')) || 1);
      tell('busy', wait_s);
      await pause(wait_s * 1000, signal);
      continue;
    }
    if (attempt > 1) tell('calm');
    if (response.ok) return response.status === 204 ? null : response.json();
    const error = await refusal(response);
    if (response.status === 401) tell('locked', error.message);
    throw error;
  }
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(new DOMException('called off', 'AbortError'));
    });
  });
}

async function refusal(response) {
  const told = await response.json().catch(() => null);
  const { message, kind } = told?.error ?? {};
  return new ServerError(message ?? `The server answered ${response.status}.`, response.status, kind);
}

let watching = false;

/** Ask a lost server whether it is back, ever more seldom. */
export async function watch() {
  if (watching) return;
  watching = true;
  tell('lost');
  for (let wait = 1000; ; wait = Math.min(8000, wait * 1.5)) {
    await pause(wait);
    const answer = await fetch('/healthz').catch(() => null);
    if (answer?.ok) break;
  }
  watching = false;
  tell('back');
}

/** Return an address of the server with parameters; null, undefined and "" are left out. */
export function address(path, params = {}) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    for (const one of [value].flat()) {
      if (one !== null && one !== undefined && one !== '') search.append(name, String(one));
    }
  }
  const text = search.toString();
  return text ? `${path}?${text}` : path;
}

/** Return the address of a part of a clip: media, clip, thumbnail, strip, spectrogram, preview. */
export function partOf(clip, part, params) {
  const kind = isUpload(clip) ? 'uploads' : 'videos';
  return address(`/v1/${kind}/${encodeURIComponent(clip)}/${part}`, params);
}

const known = new Map();

/**
 * Return what is known of a clip: {kind, name, duration_s, plays, sound, width, height, there}.
 *
 * Of an upload it is what the server said when it took it, or says now.
 */
export function details(clip) {
  if (!known.has(clip)) {
    const found = isUpload(clip) ? uploaded(clip) : stored(clip);
    known.set(clip, found);
    found.catch(() => known.delete(clip));
  }
  return known.get(clip);
}

async function stored(id) {
  const video = await ask(`/v1/videos/${encodeURIComponent(id)}`);
  const silent = video.sound === false || video.has_sound_track === false;
  return { ...video, kind: video.kind ?? 'video', name: id.split('/').at(-1), sound: !silent };
}

async function uploaded(token) {
  const kept = sessionStorage.getItem(`upload ${token}`);
  if (kept) return JSON.parse(kept);
  return { ...await ask(`/v1/uploads/${encodeURIComponent(token)}`), there: true };
}

/** Return those of some clips that the server has not got any more, and forget what was known of them. */
export async function missing(clips) {
  const paths = clips.map((clip) => `/v1/${isUpload(clip) ? 'uploads' : 'videos'}/${encodeURIComponent(clip)}`);
  const gone = await Promise.all(paths.map((path) => ask(path).then(() => false, (error) => error.status === 404)));
  const found = clips.filter((_, n) => gone[n]);
  for (const clip of found) {
    known.delete(clip);
    sessionStorage.removeItem(`upload ${clip}`);
  }
  return found;
}

/** Send a file; `onProgress` gets the part that is sent, from 0 to 1. Returns its token. */
export function upload(file, onProgress, signal) {
  // fetch tells nothing of what it has sent, XMLHttpRequest does.
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('POST', address('/v1/uploads', { name: file.name || 'clip' }));
    request.responseType = 'json';
    request.upload.onprogress = (e) => e.lengthComputable && onProgress(e.loaded / e.total);
    request.upload.onload = () => onProgress(1);
    request.onload = () => {
      if (request.status === 429) {
        const wait_s = Math.min(30, Number(request.getResponseHeader('Retry-After')) || 1);
        tell('busy', wait_s);
        setTimeout(() => upload(file, onProgress, signal).then(resolve, reject), wait_s * 1000);
        return;
      }
      tell('calm');
      if (request.status === 201) {
        const taken = { ...guessed(file), ...request.response, there: true };
        sessionStorage.setItem(`upload ${taken.upload}`, JSON.stringify(taken));
        known.delete(taken.upload);
        resolve(taken.upload);
        return;
      }
      const error = request.response?.error ?? {};
      if (request.status === 401) tell('locked', error.message);
      reject(new ServerError(error.message ?? `The server answered ${request.status}.`, request.status, error.kind));
    };
    request.onerror = () => {
      watch();
      reject(new ServerError('The server does not answer.', 0, 'Lost'));
    };
    request.onabort = () => reject(new DOMException('called off', 'AbortError'));
    signal?.addEventListener('abort', () => request.abort());
    request.send(file);
  });
}

/** Return what the browser knows of a file, until the server says more. */
function guessed({ type, name }) {
  const kind = { image: 'picture', audio: 'sound' }[type.split('/')[0]] ?? 'video';
  return { kind, name, duration_s: null, plays: true, sound: true };
}

/** Give the server the token, which it answers with a cookie. */
export const openSession = (token) => ask('/v1/session', { method: 'POST', body: { token } });
