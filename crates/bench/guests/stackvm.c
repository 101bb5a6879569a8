// A virtual machine for bytecode with an operand stack, local variables and calls, in one `switch`:
// it assembles and runs a program that finds the longest Collatz sequence below `n`, and
// Fibonacci's number of 16 by recursion for each thousand of them.
#include "guest.h"

typedef enum {
    PUSH, LOAD, STORE, ADD, SUBTRACT, MULTIPLY, HALVE, IS_ODD, LESS, DROP,
    JUMP, JUMP_IF_ZERO, CALL, RETURN, HALT,
} Operation;

// An operation in the low byte, its operand above it.
typedef uint32_t Instruction;

#define LABELS 8

typedef struct {
    Instruction code[128];
    uint32_t length;
    // Where labels are, and the jumps to them, which are patched in the end.
    uint32_t labels[LABELS];
} Program;

static void emit(Program *program, Operation operation, int32_t operand) {
    program->code[program->length++] = (uint32_t)operand << 8 | operation;
}

static void label(Program *program, uint32_t name) { program->labels[name] = program->length; }

static void patch(Program *program) {
    for (uint32_t i = 0; i < program->length; i++) {
        Operation operation = program->code[i] & 255;
        if (operation == JUMP || operation == JUMP_IF_ZERO || operation == CALL) {
            program->code[i] = program->labels[program->code[i] >> 8] << 8 | operation;
        }
    }
}

// ---- The machine ----

#define LOCALS 4

typedef struct {
    int64_t stack[256];
    // What a call comes back to, and the caller's locals.
    struct {
        uint32_t pc;
        int64_t locals[LOCALS];
    } frames[64];
} Machine;

static Machine machine;

// Runs the program to its end and answers what is on top of the stack.
static int64_t execute(const Program *program, int64_t first_local) {
    int64_t *top = machine.stack;
    uint32_t pc = 0, frame = 0;
    int64_t *locals = machine.frames[0].locals;
    locals[0] = first_local;
    for (;;) {
        Instruction instruction = program->code[pc++];
        uint32_t operand = instruction >> 8;
        switch ((Operation)(instruction & 255)) {
        case PUSH: *++top = operand; break;
        case LOAD: *++top = locals[operand]; break;
        case STORE: locals[operand] = *top--; break;
        case ADD: top--; *top += top[1]; break;
        case SUBTRACT: top--; *top -= top[1]; break;
        case MULTIPLY: top--; *top *= top[1]; break;
        case HALVE: *top >>= 1; break;
        case IS_ODD: *top &= 1; break;
        case LESS: top--; *top = *top < top[1]; break;
        case DROP: top--; break;
        case JUMP: pc = operand; break;
        case JUMP_IF_ZERO: if (*top-- == 0) pc = operand; break;
        case CALL:
            // The argument is the callee's first local.
            machine.frames[frame++].pc = pc;
            locals = machine.frames[frame].locals;
            locals[0] = *top--;
            pc = operand;
            break;
        case RETURN:
            pc = machine.frames[--frame].pc;
            locals = machine.frames[frame].locals;
            break;
        case HALT: return *top;
        default: __builtin_trap();
        }
    }
}

// ---- The program ----

enum { COLLATZ, STEP, ODD, STEPPED, FIBONACCI, RECURSE, NEXT, DONE };

// How many steps it takes from the argument to 1.
static void write_collatz(Program *p) {
    label(p, COLLATZ);
    emit(p, PUSH, 0), emit(p, STORE, 1);
    label(p, STEP);
    emit(p, PUSH, 1), emit(p, LOAD, 0), emit(p, LESS, 0), emit(p, JUMP_IF_ZERO, STEPPED);
    emit(p, LOAD, 1), emit(p, PUSH, 1), emit(p, ADD, 0), emit(p, STORE, 1);
    emit(p, LOAD, 0), emit(p, IS_ODD, 0), emit(p, JUMP_IF_ZERO, ODD);
    emit(p, LOAD, 0), emit(p, PUSH, 3), emit(p, MULTIPLY, 0), emit(p, PUSH, 1), emit(p, ADD, 0);
    emit(p, STORE, 0), emit(p, JUMP, STEP);
    label(p, ODD);
    emit(p, LOAD, 0), emit(p, HALVE, 0), emit(p, STORE, 0), emit(p, JUMP, STEP);
    label(p, STEPPED);
    emit(p, LOAD, 1), emit(p, RETURN, 0);
}

static void write_fibonacci(Program *p) {
    label(p, FIBONACCI);
    emit(p, LOAD, 0), emit(p, PUSH, 2), emit(p, LESS, 0), emit(p, JUMP_IF_ZERO, RECURSE);
    emit(p, LOAD, 0), emit(p, RETURN, 0);
    label(p, RECURSE);
    emit(p, LOAD, 0), emit(p, PUSH, 1), emit(p, SUBTRACT, 0), emit(p, CALL, FIBONACCI);
    emit(p, LOAD, 0), emit(p, PUSH, 2), emit(p, SUBTRACT, 0), emit(p, CALL, FIBONACCI);
    emit(p, ADD, 0), emit(p, RETURN, 0);
}

// Adds up what `callee` answers for the numbers from local 0 down to 1, a step of local 2 apart.
static void write_main(Program *p, uint32_t callee, int32_t argument) {
    emit(p, PUSH, 0), emit(p, STORE, 1);
    label(p, NEXT);
    emit(p, PUSH, 0), emit(p, LOAD, 0), emit(p, LESS, 0), emit(p, JUMP_IF_ZERO, DONE);
    if (argument == 0) {
        emit(p, LOAD, 0);
    } else {
        emit(p, PUSH, argument);
    }
    emit(p, CALL, (int32_t)callee), emit(p, LOAD, 1), emit(p, ADD, 0), emit(p, STORE, 1);
    emit(p, LOAD, 0), emit(p, PUSH, 1), emit(p, SUBTRACT, 0), emit(p, STORE, 0);
    emit(p, JUMP, NEXT);
    label(p, DONE);
    emit(p, LOAD, 1), emit(p, HALT, 0);
}

static int64_t run_program(uint32_t callee, int32_t argument, int64_t times) {
    Program program = {.length = 0};
    write_main(&program, callee, argument);
    write_collatz(&program);
    write_fibonacci(&program);
    patch(&program);
    return execute(&program, times);
}

int64_t run(int32_t n) {
    uint64_t steps = (uint64_t)run_program(COLLATZ, 0, n);
    uint64_t sum = (uint64_t)run_program(FIBONACCI, 16, n / 1000);
    return (int64_t)mix(steps, sum);
}
