/* Publishes with Eclipse Paho's asynchronous C client, for the benchmark beside this folder:
 *
 *     paho-c PORT COUNT WINDOW
 *
 * Says `ready` once it is connected, waits for a line, publishes COUNT readings at QoS 1 with at
 * most WINDOW without acknowledgement, says `done` when all are acknowledged, and stays until its
 * input ends, so that it can be looked at.
 */
#include <MQTTAsync.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int connected = 0;
static int waiting = 0;

static void fail(const char *what) {
    fprintf(stderr, "paho-c: %s\n", what);
    exit(1);
}

static void handle_connected(void *context, MQTTAsync_successData *data) {
    (void)context, (void)data;
    pthread_mutex_lock(&lock);
    connected = 1;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

static void handle_acknowledged(void *context, MQTTAsync_successData *data) {
    (void)context, (void)data;
    pthread_mutex_lock(&lock);
    waiting--;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

static void handle_failure(void *context, MQTTAsync_failureData *data) {
    (void)data;
    fail(context);
}

static void wait_for_line(void) {
    int c;
    do
        c = getchar();
    while (c != '\n' && c != EOF);
}

int main(int argc, char **argv) {
    if (argc != 4)
        fail("usage: paho-c PORT COUNT WINDOW");
    int count = atoi(argv[2]), window = atoi(argv[3]);
    char address[64];
    snprintf(address, sizeof address, "tcp://127.0.0.1:%s", argv[1]);

    MQTTAsync client;
    if (MQTTAsync_create(&client, address, "paho-c", MQTTCLIENT_PERSISTENCE_NONE, NULL) !=
        MQTTASYNC_SUCCESS)
        fail("cannot create a client");
    MQTTAsync_connectOptions options = MQTTAsync_connectOptions_initializer;
    options.cleansession = 1;
    options.maxInflight = window;
    options.onSuccess = handle_connected;
    options.onFailure = handle_failure;
    options.context = "cannot connect";
    if (MQTTAsync_connect(client, &options) != MQTTASYNC_SUCCESS)
        fail("cannot connect");
    pthread_mutex_lock(&lock);
    while (!connected)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    puts("ready");
    fflush(stdout);
    wait_for_line();

    MQTTAsync_responseOptions response = MQTTAsync_responseOptions_initializer;
    response.onSuccess = handle_acknowledged;
    response.onFailure = handle_failure;
    response.context = "not acknowledged";
    for (int index = 0; index < count; index++) {
        pthread_mutex_lock(&lock);
        while (waiting >= window)
            pthread_cond_wait(&changed, &lock);
        waiting++;
        pthread_mutex_unlock(&lock);
        char payload[256];
        int length =
            snprintf(payload, sizeof payload,
                     "{\"gateway\":\"bench\",\"device\":\"th-%04d\",\"name\":\"value\",\"value\":%d,"
                     "\"time\":\"2026-11-20T22:39:00.123Z\",\"n\":%d,\"seq\":%d}",
                     index % 64, index, index + 1, index);
        int sent = MQTTAsync_send(client, "bench/th-0001/value", length, payload, 1, 0, &response);
        if (sent != MQTTASYNC_SUCCESS)
            fail("cannot publish");
    }
    pthread_mutex_lock(&lock);
    while (waiting > 0)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    puts("done");
    fflush(stdout);
    wait_for_line();
    return 0;
}
