/* The C client as a limit: js_PublishAsync of ready-made bytes, with a Nats-Msg-Id each.
 * cc -O2 limit.c -lnats -o limit ; limit URL COUNT WINDOW SIZE ENTITIES ; prints events per second. */
#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void check(natsStatus status, const char *what) {
    if (status != NATS_OK) {
        fprintf(stderr, "%s: %s\n", what, natsStatus_GetText(status));
        exit(1);
    }
}

int main(int argc, char **argv) {
    if (argc != 6) {
        fprintf(stderr, "usage: limit URL COUNT WINDOW SIZE ENTITIES\n");
        return 2;
    }
    int count = atoi(argv[2]), size = atoi(argv[4]), entities = atoi(argv[5]);
    char subject[128], id[64], *payload = calloc(1, size);
    memset(payload, 'x', size);
    natsOptions *options;
    natsConnection *connection;
    jsCtx *js;
    jsOptions limits;
    check(natsOptions_Create(&options), "options");
    check(natsOptions_SetURL(options, argv[1]), "url");
    check(natsConnection_Connect(&connection, options), "connect");
    jsOptions_Init(&limits);
    limits.PublishAsync.MaxPending = atoi(argv[3]);
    limits.PublishAsync.StallWait = 10000;
    check(natsConnection_JetStream(&js, connection, &limits), "jetstream");
    double began = now();
    for (int i = 0; i < count; i++) {
        natsMsg *message;
        snprintf(subject, sizeof subject, "evt.bench.game.p%d.PlayerMoved", i % entities);
        snprintf(id, sizeof id, "01m81nahqc8gcxqq%010d", i);
        check(natsMsg_Create(&message, subject, NULL, payload, size), "message");
        check(natsMsgHeader_Set(message, "Nats-Msg-Id", id), "header");
        check(js_PublishMsgAsync(js, &message, NULL), "publish");
    }
    jsPubOptions wait;
    jsPubOptions_Init(&wait);
    wait.MaxWait = 60000;
    check(js_PublishAsyncComplete(js, &wait), "complete");
    printf("%.0f\n", count / (now() - began));
    return 0;
}
