// An ordinary Express application: answers with its name and address, and with what the next application answers.
//
//     node express_application.js NAME HOST PORT [NEXT_URL [FORWARDED_HEADER ...]]
//
// `B[10.0.0.2]`, or with a next one `B[10.0.0.2] -> C[10.0.0.3]`. The headers named are passed on, nothing else.

const http = require('http')
const express = require('express')

// Milliseconds to wait for the next application.
const TIMEOUT = 10_000

const [name, host, port, nextUrl, ...forwarded] = process.argv.slice(2)
const own = `${name}[${host}]`

const application = express()

application.get('/*path', (request, response) => {
  response.type('text/plain')
  if (nextUrl === undefined) {
    response.send(own)
    return
  }
  const headers = {}
  for (const header of forwarded) {
    const value = request.get(header)
    if (value !== undefined) headers[header] = value
  }
  const call = http.get(nextUrl, { headers, timeout: TIMEOUT }, (reply) => {
    let text = ''
    reply.setEncoding('utf8')
    reply.on('data', (chunk) => { text += chunk })
    reply.on('end', () => response.status(reply.statusCode).send(`${own} -> ${text}`))
  })
  call.on('timeout', () => call.destroy(new Error(`no answer from ${nextUrl}`)))
  call.on('error', (error) => {
    if (!response.headersSent) response.status(502).send(`${own} -> ERROR ${error.message}`)
  })
})

application.listen(Number(port), host, () => console.log(`${own} listens on port ${port}`))
