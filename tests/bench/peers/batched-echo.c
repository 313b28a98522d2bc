/* A UDP echo with recvmmsg and sendmmsg: the least that a server on this machine can cost.
 * Arguments: the port to listen on, at 127.0.0.1. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define BATCH 64
#define DATAGRAM 1500

int main(int argc, char **argv)
{
    static char buffers[BATCH][DATAGRAM];
    static struct sockaddr_in from[BATCH];
    static struct iovec vectors[BATCH];
    static struct mmsghdr messages[BATCH];

    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_port = htons(argc > 1 ? atoi(argv[1]) : 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int server = socket(AF_INET, SOCK_DGRAM, 0);
    if (server < 0 || bind(server, (struct sockaddr *)&address, sizeof address) < 0) {
        perror("cannot listen");
        return 1;
    }
    for (;;) {
        for (int i = 0; i < BATCH; i++) {
            vectors[i].iov_base = buffers[i];
            vectors[i].iov_len = DATAGRAM;
            memset(&messages[i], 0, sizeof messages[i]);
            messages[i].msg_hdr.msg_iov = &vectors[i];
            messages[i].msg_hdr.msg_iovlen = 1;
            messages[i].msg_hdr.msg_name = &from[i];
            messages[i].msg_hdr.msg_namelen = sizeof from[i];
        }
        int received = recvmmsg(server, messages, BATCH, MSG_WAITFORONE, NULL);
        if (received < 0) {
            perror("recvmmsg");
            return 1;
        }
        for (int i = 0; i < received; i++)
            vectors[i].iov_len = messages[i].msg_len;
        for (int sent = 0; sent < received;) {
            int now = sendmmsg(server, messages + sent, received - sent, 0);
            if (now < 0) {
                perror("sendmmsg");
                return 1;
            }
            sent += now;
        }
    }
}
