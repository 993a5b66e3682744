// Says what Node's http2 makes of answers: listens on a Unix socket (the one argument) for lines `SOCKET METHOD METHOD …`, asks
// there on one connection, and answers each line with one of what it has read (see answers.rs).
'use strict';
const http2 = require('node:http2');
const net = require('node:net');
const readline = require('node:readline');

const word = (text) => Buffer.from(text, 'latin1').toString('hex');

const ask = (session, method) =>
  new Promise((resolve) => {
    const request = session.request({ ':method': method, ':path': '/' }, { endStream: true });
    const pieces = [];
    let head;
    let isWhole = false;
    // The fields as they came are what no documentation tells of: the object before joins those of one name.
    request.on('response', (fields, flags, asTheyCame) => {
      head = { status: fields[':status'], asTheyCame };
    });
    request.on('data', (piece) => pieces.push(piece));
    request.on('end', () => (isWhole = true));
    request.on('error', () => (isWhole = false));
    request.on('close', () => {
      if (!head || !isWhole || request.rstCode !== http2.constants.NGHTTP2_NO_ERROR) return resolve('-');
      const parts = [head.status, Buffer.concat(pieces).toString('hex')];
      for (let at = 0; at < head.asTheyCame.length; at += 2) {
        const [name, value] = head.asTheyCame.slice(at, at + 2);
        if (!name.startsWith(':')) parts.push(`${word(name)}:${word(value)}`);
      }
      resolve(parts.join('.'));
    });
  });

net
  .createServer(async (stream) => {
    for await (const line of readline.createInterface({ input: stream })) {
      const [socketPath, ...methods] = line.split(' ');
      const session = http2.connect('http://shop', { createConnection: () => net.connect(socketPath) });
      session.on('error', () => {});
      const read = [];
      for (const method of methods) {
        // What cannot be asked any more is not answered.
        read.push(session.closed || session.destroyed ? '-' : await ask(session, method));
      }
      session.destroy();
      stream.write(`${read.join(' ')}\n`);
    }
  })
  .listen(process.argv[2]);
