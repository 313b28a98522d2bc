// The broker `aedes` on a free port, which is the first line that it prints. Every publish of a
// client is a further line: quality of service, topic, payload in hexadecimal.
'use strict'
const net = require('node:net')
const aedes = require('aedes')()

aedes.on('publish', (packet, client) => {
  if (client) console.log(`${packet.qos} ${packet.topic} ${packet.payload.toString('hex')}`)
})
const server = net.createServer(aedes.handle)
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
