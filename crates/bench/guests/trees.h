// The nodes of trees.c, behind accessor functions.
#ifndef TREES_H
#define TREES_H

#include "guest.h"

typedef struct Node Node;

void nodes_reset(void);
Node *node_new(uint32_t key, uint32_t priority);
uint32_t node_key(const Node *node);
uint32_t node_priority(const Node *node);
Node *node_left(const Node *node);
Node *node_right(const Node *node);
void node_set_left(Node *node, Node *left);
void node_set_right(Node *node, Node *right);
// How many nodes the tree below has, itself included; none has 0.
uint32_t node_count(const Node *node);
// Counts again, from what the two subtrees say.
void node_recount(Node *node);

#endif
