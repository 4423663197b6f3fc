// The admin token of this tab.
// Owns: taking it from the address, keeping it for the tab's life, forgetting it.
// Must not know what the token is used for, nor ever write it to the page or the console.

const KEY = "spillway.token";
const listeners = new Set();
let memory = null; // For browsers that refuse session storage.

function remember(token) {
  memory = token;
  try {
    if (token) sessionStorage.setItem(KEY, token);
    else sessionStorage.removeItem(KEY);
  } catch {
    // The token then lives as long as the page does.
  }
}

function recall() {
  if (memory) return memory;
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}

/** Takes `#token=…` out of the address bar and out of the history entry. */
export function adoptFromAddress() {
  const found = /^#token=([^&]+)/.exec(location.hash);
  if (!found) return;
  let token = found[1];
  try {
    token = decodeURIComponent(token);
  } catch {
    // A token with a stray percent sign is taken as it is.
  }
  remember(token);
  history.replaceState(null, "", `${location.pathname}${location.search}#/overview`);
}

export function token() {
  return recall();
}

export function signIn(value) {
  remember(value.trim());
  for (const listener of listeners) listener("in");
}

/** `why` is "asked" when the operator left, "refused" when the server said 401. */
export function signOut(why) {
  if (!recall() && why === "refused") return;
  remember(null);
  for (const listener of listeners) listener(why);
}

export function onChange(listener) {
  listeners.add(listener);
}
