// --- snippet ---
const { promisify } = require("util");
const Memcached = require("memcached");

const cache = new Memcached(process.env.MEMCACHE_SERVERS, { timeout: 1000, retries: 0 });
const [get, set, replace, del] = ["get", "set", "replace", "del"].map((verb) =>
  promisify(cache[verb]).bind(cache));
const now = () => Math.floor(Date.now() / 1000);

async function seen(user, at = now()) {
  // A string: a number or a Date is stored in a form that other clients cannot read.
  await set(`seen_${user}`, String(at), 604800);
}

async function lastSeen(user) {
  const value = await get(`seen_${user}`);
  return value === undefined ? null : Number(value);
}

async function online(user) {
  const last = await lastSeen(user);
  return last !== null && now() <= last + 300;
}

async function signedOut(user) {
  const last = await lastSeen(user);
  if (last !== null) {
    await replace(`seen_${user}`, String(Math.min(last, now() - 305)), 604800);
  }
}

async function forget(user) {
  return del(`seen_${user}`);
}
// --- end ---

const naive = {
  number: (at) => at,
  Date: (at) => new Date(at * 1000),
  object: (at) => ({ at }),
  toString: (at) => String(new Date(at * 1000)),
  toUTCString: (at) => new Date(at * 1000).toUTCString(),
  toISOString: (at) => new Date(at * 1000).toISOString(),
};

require("./commands").run({
  seen,
  lastSeen,
  online,
  signedOut,
  forget,
  naive: (user, at, kind) => set(`seen_${user}`, naive[kind](at), 604800),
  version: () => `memcached ${require("memcached/package.json").version}`,
});
