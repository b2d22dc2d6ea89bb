// What outlives a reload of this tab: the texts in sessionStorage, the image file in IndexedDB.
// Both are a convenience: where the browser forbids them, the page works without.

const KEY = "piza", STORE = "images", MAX_FILES = 4;

export const load = () => {
  try {
    return JSON.parse(sessionStorage.getItem(KEY)) ?? {};
  } catch {
    return {};
  }
};

/** Keep some values besides those that are kept already. */
export const save = (values) => {
  try {
    sessionStorage.setItem(KEY, JSON.stringify({ ...load(), ...values }));
  } catch { /* forbidden, or full */ }
};

const done = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

const store = async (mode) => {
  const opening = indexedDB.open(KEY, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
  return (await done(opening)).transaction(STORE, mode).objectStore(STORE);
};

/** Keep the image file of this tab; the oldest files of other tabs are dropped. */
export const saveFile = async (file, name) => {
  try {
    const key = load().file ?? `${Date.now()}-${Math.random().toString(36).slice(2)}`;
    save({ file: key });
    const files = await store("readwrite");
    await done(files.put({ file, name }, key));
    const keys = (await done(files.getAllKeys())).filter((other) => other !== key);
    for (const old of keys.slice(0, Math.max(keys.length - MAX_FILES + 1, 0))) files.delete(old);
  } catch { /* forbidden, or full */ }
};

/** {file, name}, or null. */
export const loadFile = async () => {
  try {
    const key = load().file;
    return key ? (await done((await store("readonly")).get(key))) ?? null : null;
  } catch {
    return null;
  }
};

export const forgetFile = async () => {
  try {
    const key = load().file;
    save({ file: undefined, image: undefined, search: undefined });
    if (key) await done((await store("readwrite")).delete(key));
  } catch { /* there is nothing to forget */ }
};
