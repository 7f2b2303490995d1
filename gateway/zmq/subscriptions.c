/* See subscriptions.h. */
#include "gateway/zmq/subscriptions.h"

#include <errno.h>
#include <stdlib.h>

struct rf_subscription {
    struct rf_bytes topic; /* its bytes are owned */
    size_t count;
};

static void free_topic(struct rf_subscription *subscription)
{
    free((void *)(uintptr_t)subscription->topic.data);
}

void rf_subscriptions_deinit(struct rf_subscriptions *subscriptions)
{
    for (size_t i = 0; i < subscriptions->n; i++)
        free_topic(&subscriptions->list[i]);
    free(subscriptions->list);
    *subscriptions = (struct rf_subscriptions){0};
}

static struct rf_subscription *find(struct rf_subscriptions *subscriptions, struct rf_bytes topic)
{
    for (size_t i = 0; i < subscriptions->n; i++)
        if (rf_bytes_eq(subscriptions->list[i].topic, topic))
            return &subscriptions->list[i];
    return NULL;
}

int rf_subscriptions_add(struct rf_subscriptions *subscriptions, struct rf_bytes topic)
{
    struct rf_subscription *known = find(subscriptions, topic);
    if (known) {
        known->count++;
        return 0;
    }
    if (subscriptions->n == RF_SUBSCRIPTIONS_MAX ||
        topic.len > RF_SUBSCRIPTION_BYTES_MAX - subscriptions->bytes)
        return -EMSGSIZE;
    struct rf_subscription *list =
        realloc(subscriptions->list, (subscriptions->n + 1) * sizeof(*list));
    if (!list)
        return -ENOMEM;
    subscriptions->list = list;
    uint8_t *copy = malloc(topic.len + 1);
    if (!copy)
        return -ENOMEM;
    if (topic.len)
        memcpy(copy, topic.data, topic.len);
    list[subscriptions->n++] = (struct rf_subscription){{copy, topic.len}, 1};
    subscriptions->bytes += topic.len;
    return 0;
}

void rf_subscriptions_remove(struct rf_subscriptions *subscriptions, struct rf_bytes topic)
{
    struct rf_subscription *known = find(subscriptions, topic);
    if (!known || --known->count)
        return;
    subscriptions->bytes -= known->topic.len;
    free_topic(known);
    *known = subscriptions->list[--subscriptions->n];
}

bool rf_subscriptions_match(const struct rf_subscriptions *subscriptions, struct rf_bytes topic)
{
    for (size_t i = 0; i < subscriptions->n; i++) {
        struct rf_bytes prefix = subscriptions->list[i].topic;
        if (prefix.len <= topic.len &&
            (!prefix.len || memcmp(prefix.data, topic.data, prefix.len) == 0))
            return true;
    }
    return false;
}
