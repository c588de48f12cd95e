// Node's side of the comparison: answers each line of work with the seconds it took; measure.py lists them.
const { promisify } = require("util");
const readline = require("readline");
const Memcached = require("memcached");

const cache = new Memcached(process.env.MEMCACHE_SERVERS, { timeout: 1000, retries: 0 });
const [get, set, getMulti] = ["get", "set", "getMulti"].map((verb) => promisify(cache[verb]).bind(cache));
const users = Array.from({ length: 1000 }, (_, nth) => `user${nth}`);

const verbs = {
  set: (user) => set(`seen_${user}`, String(Math.floor(Date.now() / 1000)), 604800),
  get: async (user) => Number(await get(`seen_${user}`)),
};

async function many(page) {
  const found = await getMulti(page.map((user) => `seen_${user}`));
  return Object.entries(found).map(([key, value]) => [key, Number(value)]);
}

async function answer([verb, ...numbers]) {
  if (verb === "name") {
    return `memcached ${require("memcached/package.json").version} (Node ${process.versions.node})`;
  }
  const calls = Number(numbers.at(-1));
  const page = users.slice(0, Number(numbers[0]));
  const started = process.hrtime.bigint();
  for (let nth = 0; nth < calls; nth++) {
    if (verb === "many") {
      if ((await many(page)).length !== page.length) throw new Error("not all of the page");
    } else if (!(await verbs[verb](users[nth % users.length]))) {
      throw new Error(`${verb}: nothing`);
    }
  }
  return Number(process.hrtime.bigint() - started) / 1e9;
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(`${await answer(line.split(" "))}\n`);
  }
  process.exit(); // the client's connection would keep the program alive
})();
