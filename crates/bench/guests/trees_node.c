// The nodes of trees.c, in a translation unit of their own: each access is a call.
#include "trees.h"

struct Node {
    Node *left;
    Node *right;
    uint32_t key;
    uint32_t priority;
    uint32_t count;
};

static uint64_t memory[(1 << 21) / sizeof(uint64_t)];
static Arena arena;

void nodes_reset(void) { arena = (Arena){(uint8_t *)memory, sizeof memory, 0}; }

Node *node_new(uint32_t key, uint32_t priority) {
    Node *node = arena_allocate(&arena, sizeof(Node));
    *node = (Node){.key = key, .priority = priority, .count = 1};
    return node;
}

uint32_t node_key(const Node *node) { return node->key; }

uint32_t node_priority(const Node *node) { return node->priority; }

Node *node_left(const Node *node) { return node->left; }

Node *node_right(const Node *node) { return node->right; }

void node_set_left(Node *node, Node *left) { node->left = left; }

void node_set_right(Node *node, Node *right) { node->right = right; }

uint32_t node_count(const Node *node) { return node ? node->count : 0; }

void node_recount(Node *node) {
    node->count = 1 + node_count(node->left) + node_count(node->right);
}
