// An 8-bit accumulator machine with its program in block RAM, for an iCE40 HX1K.
// It walks the Collatz sequence of a growing seed and shows it on eight LEDs. What it does matters
// less than what it is made of: a memory, an adder chain, a one-hot state machine, multiplexers,
// registers with enable and with reset, and a slow clock enable. Each exercises other passes.

module alu (
    input  wire [2:0] op,
    input  wire [7:0] a,
    input  wire [7:0] b,
    output reg  [7:0] y,
    output reg        carry
);
    always @* begin
        carry = 1'b0;
        case (op)
            3'd0: y = b;
            3'd1: {carry, y} = a + b;
            3'd2: {carry, y} = {1'b0, a} - {1'b0, b};
            3'd3: y = a & b;
            3'd4: y = a | b;
            3'd5: y = a ^ b;
            3'd6: {y, carry} = {1'b0, a};
            default: {carry, y} = {a, 1'b0};
        endcase
    end
endmodule

module cpu (
    input  wire       clk,
    input  wire       rst,
    output reg  [7:0] led,
    output wire       alive
);
    // Instruction: [15:12] kind, [10:8] ALU operation, [7:0] operand.
    localparam KIND_IMM = 4'd0, KIND_REG = 4'd1, KIND_STORE = 4'd2, KIND_JUMP = 4'd3,
               KIND_JZ = 4'd4, KIND_JC = 4'd5, KIND_OUT = 4'd6;

    reg [15:0] rom [0:255];
    reg [15:0] instr;
    reg [7:0]  pc, acc;
    reg [7:0]  file [0:3];
    reg        carry;
    reg [2:0]  state; // one-hot: fetch, execute, write back
    reg [19:0] divider;

    integer i;
    initial begin
        for (i = 0; i < 256; i = i + 1)
            rom[i] = {4'd3, 4'd0, 8'd0};
        rom[0]  = {KIND_REG,   4'd0, 8'd0};   // acc = r0
        rom[1]  = {KIND_IMM,   4'd1, 8'd1};   // acc += 1
        rom[2]  = {KIND_STORE, 4'd0, 8'd0};   // r0 = acc
        rom[3]  = {KIND_STORE, 4'd0, 8'd1};   // r1 = acc
        rom[4]  = {KIND_OUT,   4'd0, 8'd0};   // show acc
        rom[5]  = {KIND_IMM,   4'd2, 8'd1};   // acc -= 1
        rom[6]  = {KIND_JZ,    4'd0, 8'd0};   // reached 1: next seed
        rom[7]  = {KIND_REG,   4'd0, 8'd1};   // acc = r1
        rom[8]  = {KIND_IMM,   4'd6, 8'd0};   // acc >>= 1
        rom[9]  = {KIND_JC,    4'd0, 8'd11};  // it was odd
        rom[10] = {KIND_JUMP,  4'd0, 8'd3};   // it was even: half of it
        rom[11] = {KIND_REG,   4'd0, 8'd1};   // acc = r1
        rom[12] = {KIND_IMM,   4'd7, 8'd0};   // acc <<= 1
        rom[13] = {KIND_REG,   4'd1, 8'd1};   // acc += r1
        rom[14] = {KIND_IMM,   4'd1, 8'd1};   // acc += 1
        rom[15] = {KIND_JUMP,  4'd0, 8'd3};
        for (i = 0; i < 4; i = i + 1)
            file[i] = 8'd0;
        instr = 16'd0; pc = 8'd0; acc = 8'd0; carry = 1'b0; led = 8'd0;
        state = 3'b001; divider = 20'd0;
    end

    wire       tick = &divider;
    wire [3:0] kind = instr[15:12];
    wire [7:0] operand = kind == KIND_REG ? file[instr[1:0]] : instr[7:0];
    wire [7:0] result;
    wire       carry_out;

    alu alu (.op(instr[10:8]), .a(acc), .b(operand), .y(result), .carry(carry_out));

    assign alive = divider[19] ^ (pc == 8'd0);

    always @(posedge clk) divider <= divider + 20'd1;

    // The memory is read in its own process, without reset or enable, so that it becomes block RAM.
    always @(posedge clk) instr <= rom[pc];

    always @(posedge clk) begin
        if (rst) begin
            state <= 3'b001;
            pc <= 8'd0;
            acc <= 8'd0;
            carry <= 1'b0;
        end else if (tick) begin
            state <= {state[1:0], state[2]};
            if (state[1]) begin
                case (kind)
                    KIND_IMM, KIND_REG: begin
                        acc <= result;
                        carry <= carry_out;
                    end
                    KIND_STORE: file[instr[1:0]] <= acc;
                    KIND_OUT: led <= acc;
                    default: ;
                endcase
            end
            if (state[2]) begin
                if (kind == KIND_JUMP || kind == KIND_JZ && acc == 8'd0 || kind == KIND_JC && carry)
                    pc <= instr[7:0];
                else
                    pc <= pc + 8'd1;
            end
        end
    end
endmodule
