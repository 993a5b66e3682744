// Says what Node's http makes of answers: listens on a Unix socket (the one argument) for lines `SOCKET METHOD METHOD …`, asks
// there on one connection, and answers each line with one of what it has read (see answers.rs).
'use strict';
const http = require('node:http');
const net = require('node:net');
const readline = require('node:readline');

const word = (text) => Buffer.from(text, 'latin1').toString('hex');

const ask = (agent, socketPath, method) =>
  new Promise((resolve) => {
    const request = http.request({ agent, socketPath, method, headers: { host: 'shop' } }, (answer) => {
      const pieces = [];
      answer.on('data', (piece) => pieces.push(piece));
      answer.on('error', () => resolve('-'));
      answer.on('close', () => {
        if (!answer.complete) return resolve('-');
        const parts = [answer.statusCode, Buffer.concat(pieces).toString('hex')];
        for (let at = 0; at < answer.rawHeaders.length; at += 2) {
          const [name, value] = answer.rawHeaders.slice(at, at + 2);
          parts.push(`${word(name.toLowerCase())}:${word(value)}`);
        }
        resolve(parts.join('.'));
      });
    });
    request.on('error', () => resolve('-'));
    request.on('upgrade', () => resolve('-'));
    request.end();
  });

net
  .createServer(async (stream) => {
    for await (const line of readline.createInterface({ input: stream })) {
      const [socketPath, ...methods] = line.split(' ');
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
      const read = [];
      for (const method of methods) {
        read.push(await ask(agent, socketPath, method));
        if (read.at(-1) === '-') break;
      }
      agent.destroy();
      stream.write(`${read.join(' ')}\n`);
    }
  })
  .listen(process.argv[2]);
