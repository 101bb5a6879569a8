// Ordered sets as treaps (trees ordered by key, heaps by a random priority): inserts `n` random
// keys, looks keys up, asks for ranks, takes half of the keys out and walks what is left.
#include "trees.h"

// The keys below `key` to the left, the others to the right.
static void split(Node *tree, uint32_t key, Node **left, Node **right) {
    if (!tree) {
        *left = *right = NULL;
        return;
    }
    Node *between;
    if (node_key(tree) < key) {
        split(node_right(tree), key, &between, right);
        node_set_right(tree, between);
        *left = tree;
    } else {
        split(node_left(tree), key, left, &between);
        node_set_left(tree, between);
        *right = tree;
    }
    node_recount(tree);
}

// One tree of two, where all keys of `left` are below those of `right`.
static Node *merge(Node *left, Node *right) {
    if (!left) return right;
    if (!right) return left;
    if (node_priority(left) > node_priority(right)) {
        node_set_right(left, merge(node_right(left), right));
        node_recount(left);
        return left;
    }
    node_set_left(right, merge(left, node_left(right)));
    node_recount(right);
    return right;
}

static bool contains(const Node *tree, uint32_t key) {
    while (tree && node_key(tree) != key) {
        tree = key < node_key(tree) ? node_left(tree) : node_right(tree);
    }
    return tree != NULL;
}

static Node *insert(Node *tree, uint32_t key, uint32_t priority) {
    if (contains(tree, key)) return tree;
    Node *left, *right;
    split(tree, key, &left, &right);
    return merge(merge(left, node_new(key, priority)), right);
}

static Node *erase(Node *tree, uint32_t key) {
    Node *left, *middle, *right;
    split(tree, key, &left, &middle);
    split(middle, key + 1, &middle, &right);
    return merge(left, right);
}

// How many keys are below `key`.
static uint32_t rank(const Node *tree, uint32_t key) {
    uint32_t below = 0;
    while (tree) {
        if (node_key(tree) < key) {
            below += node_count(node_left(tree)) + 1;
            tree = node_right(tree);
        } else {
            tree = node_left(tree);
        }
    }
    return below;
}

static uint32_t height(const Node *tree) {
    if (!tree) return 0;
    uint32_t left = height(node_left(tree)), right = height(node_right(tree));
    return 1 + (left > right ? left : right);
}

static uint64_t walk(const Node *tree, uint64_t checksum) {
    if (!tree) return checksum;
    checksum = walk(node_left(tree), checksum);
    checksum = mix(checksum, node_key(tree));
    return walk(node_right(tree), checksum);
}

int64_t run(int32_t n) {
    Random random = {1};
    uint32_t keys = (uint32_t)n * 4;
    Node *tree = NULL;
    nodes_reset();
    for (int32_t i = 0; i < n; i++) {
        uint32_t key = random_below(&random, keys);
        tree = insert(tree, key, (uint32_t)random_next(&random));
    }
    uint64_t checksum = mix(node_count(tree), height(tree));

    uint32_t hits = 0;
    for (int32_t i = 0; i < n; i++) {
        uint32_t key = random_below(&random, keys);
        hits += contains(tree, key);
        checksum = mix(checksum, rank(tree, key));
    }
    checksum = mix(checksum, hits);

    for (uint32_t key = 0; key < keys; key += 2) {
        if (contains(tree, key)) tree = erase(tree, key);
    }
    checksum = mix(checksum, mix(node_count(tree), height(tree)));
    return (int64_t)walk(tree, checksum);
}
