// --- snippet ---
const memjs = require("memjs");

const cache = memjs.Client.create(process.env.MEMCACHE_SERVERS);
const now = () => Math.floor(Date.now() / 1000);

async function seen(user, at = now()) {
  await cache.set(`seen_${user}`, String(at), { expires: 604800 });
}

async function lastSeen(user) {
  const { value } = await cache.get(`seen_${user}`);
  return value === null ? null : Number(value.toString());
}

async function online(user) {
  const last = await lastSeen(user);
  return last !== null && now() <= last + 300;
}

async function signedOut(user) {
  const last = await lastSeen(user);
  if (last !== null) {
    const value = String(Math.min(last, now() - 305));
    await cache.replace(`seen_${user}`, value, { expires: 604800 });
  }
}

async function forget(user) {
  return cache.delete(`seen_${user}`);
}
// --- end ---

const naive = {
  number: (at) => at,
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
  naive: (user, at, kind) => cache.set(`seen_${user}`, naive[kind](at), { expires: 604800 }),
  version: () => `memjs ${require("memjs/package.json").version}`,
});
