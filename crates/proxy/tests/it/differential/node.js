// Says what Node's http makes of requests: a server on a Unix socket (the one argument) that answers each with what it has
// read, in the field `x-read` (see differential.rs).
'use strict';
const http = require('node:http');

const word = (text) => Buffer.from(text, 'latin1').toString('hex');

http
  .createServer((request, answer) => {
    const pieces = [];
    request.on('data', (piece) => pieces.push(piece));
    request.on('end', () => {
      const parts = [word(request.method), word(request.url), Buffer.concat(pieces).toString('hex')];
      for (let at = 0; at < request.rawHeaders.length; at += 2) {
        const [name, value] = request.rawHeaders.slice(at, at + 2);
        parts.push(`${word(name.toLowerCase())}:${word(value)}`);
      }
      answer.setHeader('x-read', parts.join('.'));
      answer.setHeader('content-length', '0');
      answer.end();
    });
  })
  .listen(process.argv[2]);
