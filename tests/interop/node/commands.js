// Answers commands, one a line; ../python/commands.py lists them.
const readline = require("readline");

async function answer(stack, [verb, user, at, kind]) {
  switch (verb) {
    case "seen":
      await (at ? stack.seen(user, Number(at)) : stack.seen(user));
      return "ok";
    case "last_seen":
      return (await stack.lastSeen(user)) ?? "none";
    case "online":
      return stack.online(user);
    case "signed_out":
      await stack.signedOut(user);
      return "ok";
    case "forget":
      return stack.forget(user);
    case "naive":
      await stack.naive(user, Number(at), kind);
      return "ok";
    case "version":
      return stack.version();
  }
  throw new Error(`no command ${verb}`);
}

exports.run = async (stack) => {
  console.log = console.error; // memjs logs there, among the answers
  const words = process.argv.slice(2);
  const lines = words.length ? [words.join(" ")] : readline.createInterface({ input: process.stdin });
  for await (const line of lines) {
    let text;
    try {
      text = await answer(stack, line.split(" "));
    } catch (error) {
      text = `error: ${error.message}`.replaceAll("\n", " ");
    }
    process.stdout.write(`${text}\n`);
  }
  process.exit(); // the client's connection would keep the program alive
};
