// What the scripts beside this one share: a TLS listener on a free port, and orders from the tests on standard input.
import { readFileSync } from 'node:fs';
import https from 'node:https';
import readline from 'node:readline';

// Standard output is for answers to orders alone.
console.log = console.info = console.error;

export const configuration = JSON.parse(readFileSync(process.argv[2]));

export const tls = { key: readFileSync(configuration.key), cert: readFileSync(configuration.certificate) };

// Listen on loopback; resolves to [server, issuer]. The port is known before anything has to name it.
export function listen(handler) {
  const server = https.createServer(tls, handler);
  return new Promise((resolve, reject) => {
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => resolve([server, `https://127.0.0.1:${server.address().port}`]));
  });
}

// Say that it is ready, then obey: one JSON array [order, argument] a line, one line of JSON as the answer.
// The end of standard input is the end of the server: it outlives no test run.
export function obey(issuer, orders) {
  const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
  const lines = readline.createInterface({ input: process.stdin });
  lines.on('line', async (line) => {
    const [order, argument] = JSON.parse(line);
    say((await orders[order](argument)) ?? null);
  });
  lines.on('close', () => process.exit(0));
  say(issuer);
}
