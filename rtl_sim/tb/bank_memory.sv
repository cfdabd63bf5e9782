// When memory with banks takes and answers beats: one channel, cycle by cycle. Ports (0: STORE, 1: LOAD) fill a queue each with atoms
// of 32 bytes; one data bus serves one direction at a time. Of the queue's atoms the oldest whose row is open is transferred next,
// while other banks close and open rows for atoms behind it. Refresh stops all of that, closes every row and takes its time.
// The bus turns round when the other direction waits and this one has had a batch since, or nothing for as long as a turn takes and
// at least a cycle.
// Times are in ticks of 1/256 cycle; cycle n is the time from n - 1 to n.
/* verilator lint_off UNUSEDSIGNAL */  // ints index small tables
module bank_memory #(
    localparam int AddrBits = athena_pkg::ADDR_BITS,
    localparam int CountBits = athena_pkg::COUNT_BITS
) (
    input  logic                                          clk_i,
    input  logic                                          rst_i,       // up to the cycle before the first
    input  logic [athena_pkg::MEMORY_SETTINGS-1:0][31:0]  settings_i,
    input  logic [1:0]                                    valid_i,
    output logic [1:0]                                    ready_o,
    input  logic [1:0][AddrBits-1:0]                      addr_i,
    input  logic [1:0][CountBits-1:0]                     left_i,      // bytes of the row from this beat on
    output logic [1:0]                                    answer_o
);
  localparam int Depth = athena_pkg::MEMORY_QUEUE;  // beats of a port, a power of two
  localparam int Atoms = 2 * Depth;                 // atoms of a port: a beat has no more bytes than one and touches at most two
  localparam longint AtomBytes = longint'(athena_pkg::ATOM_BYTES);
  localparam int Batch = athena_pkg::BATCH_BYTES / athena_pkg::ATOM_BYTES;  // atoms; also the length of a queue
  localparam longint Tick = longint'(athena_pkg::TICKS);
  localparam int BanksMax = 64;
  localparam int Write = 0;
  localparam int Read = 1;

  typedef struct {
    longint due;      // cycle in which it reaches the queue
    longint at;       // address
    int     bytes;
    logic   more;     // the row goes on in this beat's last atom
    int     first;    // number of the atom in which it begins
    int     atom;     // of that in which it ends
    int     offset;   // where the beat ends in it
  } beat_t;

  typedef struct {
    longint number;   // address / AtomBytes
    int     bank;
    longint row;
    logic   whole;    // nothing more to come for it
    logic   done;
    longint start;    // of its transfer
  } atom_t;

  // Settings.
  longint atom_ticks, miss, turn, refresh_every, refresh, row_bytes, banks;
  int request, answer, window;
  always_comb begin
    atom_ticks = longint'(settings_i[athena_pkg::SETTING_ATOM_TICKS]);
    miss = longint'(settings_i[athena_pkg::SETTING_ROW_MISS_TICKS]);
    turn = longint'(settings_i[athena_pkg::SETTING_TURN_TICKS]);
    refresh_every = longint'(settings_i[athena_pkg::SETTING_REFRESH_EVERY_TICKS]);
    refresh = longint'(settings_i[athena_pkg::SETTING_REFRESH_TICKS]);
    window = int'(settings_i[athena_pkg::SETTING_WINDOW_BEATS]);
    row_bytes = longint'(settings_i[athena_pkg::SETTING_ROW_BYTES]);
    banks = longint'(settings_i[athena_pkg::SETTING_BANKS]);
    request = int'(settings_i[athena_pkg::SETTING_LATENCY]) / 2;
    answer = int'(settings_i[athena_pkg::SETTING_LATENCY]) - request;
  end

  beat_t beats[2][Depth];
  int beat_head[2], beat_next[2], beat_tail[2];  // not answered, not in the queue yet, free
  atom_t atoms[2][Atoms];
  int atom_head[2], atom_tail[2], waiting[2];  // oldest not transferred, free; atoms that can be transferred
  longint bank_row[BanksMax], bank_free[BanksMax];  // -1: closed; when its opening or transfer ends
  longint now, bus_free, next_refresh, seen;  // seen: when the bus's direction had something to transfer
  int direction, moved;  // moved: atoms since the turn or since the other direction waits

  function automatic longint later(input longint a, input longint b);
    return a > b ? a : b;
  endfunction

  function automatic int last_of(input int p);  // behind the last atom that the scheduler sees
    return atom_tail[p] - atom_head[p] > Batch ? atom_head[p] + Batch : atom_tail[p];
  endfunction

  // A beat enters the queue: its bytes join the newest atom or make new ones.
  task automatic enter(input int p);
    longint first, last, page;
    int b, newest;
    b = beat_next[p] % Depth;
    first = beats[p][b].at / AtomBytes;
    beats[p][b].first = atom_tail[p];
    last = (beats[p][b].at + longint'(beats[p][b].bytes) - 1) / AtomBytes;
    for (longint n = first; n <= last; n++) begin
      newest = (atom_tail[p] + Atoms - 1) % Atoms;
      if (n != atoms[p][newest].number || !joins(p, newest)) begin
        newest = atom_tail[p] % Atoms;
        atom_tail[p] = atom_tail[p] + 1;
        page = n * AtomBytes / row_bytes;
        atoms[p][newest].number = n;
        atoms[p][newest].row = page / banks;
        atoms[p][newest].bank = int'((page + page / banks) % banks);
        atoms[p][newest].whole = 1'b0;
        atoms[p][newest].done = 1'b0;
      end else if (n == first) beats[p][b].first = atom_tail[p] - 1;
      if (!atoms[p][newest].whole && (p == Read || n != last || !beats[p][b].more)) begin
        atoms[p][newest].whole = 1'b1;
        waiting[p] = waiting[p] + 1;
      end
    end
    beats[p][b].atom = atom_tail[p] - 1;
    beats[p][b].offset = int'((beats[p][b].at + longint'(beats[p][b].bytes) - 1) % AtomBytes) + 1;
    beat_next[p] = beat_next[p] + 1;
  endtask

  // Whether bytes may still join an atom: a write until it is transferred, a read until its transfer has ended.
  function automatic logic joins(input int p, input int a);
    return !atoms[p][a].done || (p == Read && atoms[p][a].start + atom_ticks > (now - 1) * Tick);
  endfunction

  // Close all rows and refresh, once nothing moves any more.
  task automatic try_refresh();
    longint start;
    start = later(next_refresh, bus_free);
    for (int b = 0; b < int'(banks); b++) start = later(start, bank_free[b]);
    if (start < now * Tick) begin
      for (int b = 0; b < int'(banks); b++) begin
        bank_row[b] = -1;
        bank_free[b] = start + miss / 2 + refresh;
      end
      next_refresh = next_refresh + refresh_every;
    end
  endtask

  // Turn the bus round if the other direction waits and this one has nothing left, or had its batch.
  task automatic choose_direction();
    if (waiting[direction] > 0) seen = now;
    if (waiting[1-direction] == 0) moved = 0;
    else if (moved >= Batch || (now > seen && (now - seen) * Tick >= turn)) begin
      direction = 1 - direction;
      seen = now;
      moved = 0;
      bus_free = bus_free + turn;
    end
  endtask

  // Transfer what can start within this cycle.
  task automatic transfer();
    logic found;
    int a, b;
    found = 1'b1;
    while (found && bus_free < now * Tick) begin
      found = 1'b0;
      for (int n = atom_head[direction]; n < last_of(direction) && !found; n++) begin
        a = n % Atoms;
        b = atoms[direction][a].bank;
        if (atoms[direction][a].whole && !atoms[direction][a].done && bank_row[b] == atoms[direction][a].row &&
            bank_free[b] < now * Tick) begin
          found = 1'b1;
          atoms[direction][a].done = 1'b1;
          atoms[direction][a].start = later(later(bus_free, bank_free[b]), (now - 1) * Tick);
          bus_free = atoms[direction][a].start + atom_ticks;
          bank_free[b] = bus_free;
          waiting[direction] = waiting[direction] - 1;
          moved = moved + 1;
        end
      end
      while (atom_head[direction] != atom_tail[direction] && atoms[direction][atom_head[direction]%Atoms].done)
        atom_head[direction] = atom_head[direction] + 1;
    end
  endtask

  // Open one row: for each bank the oldest atom, of the bus's direction first, says which.
  task automatic open_row();
    logic [BanksMax-1:0] claimed;
    logic opened;
    int p, a, b;
    claimed = '0;
    opened = 1'b0;
    for (int turn_of = 0; turn_of < 2; turn_of++) begin
      p = turn_of == 0 ? direction : 1 - direction;
      for (int n = atom_head[p]; n < last_of(p) && !opened; n++) begin
        a = n % Atoms;
        b = atoms[p][a].bank;
        if (!atoms[p][a].done && !claimed[b[5:0]]) begin
          claimed[b[5:0]] = 1'b1;
          if (bank_row[b] != atoms[p][a].row && bank_free[b] < now * Tick) begin
            opened = 1'b1;
            bank_free[b] = later(bank_free[b], (now - 1) * Tick) + (bank_row[b] < 0 ? miss - miss / 2 : miss);
            bank_row[b] = atoms[p][a].row;
          end
        end
      end
    end
  endtask

  // Whether both atoms of a port's oldest beat have been transferred, and in which cycle it is answered then.
  function automatic logic through(input int p);
    int b;
    b = beat_head[p] % Depth;
    return atoms[p][beats[p][b].first%Atoms].done && atoms[p][beats[p][b].atom%Atoms].done;
  endfunction

  function automatic longint answer_cycle(input int p);
    longint ended;
    int b;
    b = beat_head[p] % Depth;
    ended = atoms[p][beats[p][b].atom%Atoms].start + atom_ticks * longint'(beats[p][b].offset) / AtomBytes;
    if (beats[p][b].first != beats[p][b].atom)
      ended = later(ended, atoms[p][beats[p][b].first%Atoms].start + atom_ticks);
    return later((ended + Tick - 1) / Tick, beats[p][b].due) + longint'(answer);
  endfunction

  function automatic logic answers(input int p);
    return beat_head[p] != beat_next[p] && through(p) && answer_cycle(p) <= now;
  endfunction

  task automatic accept(input int p, input int bus);
    int b;
    b = beat_tail[p] % Depth;
    beats[p][b].due = now + longint'(request);
    beats[p][b].at = longint'(addr_i[p]);
    beats[p][b].bytes = int'(left_i[p]) < bus ? int'(left_i[p]) : bus;
    beats[p][b].more = int'(left_i[p]) > bus && (longint'(addr_i[p]) + longint'(bus)) % AtomBytes != 0;
    beat_tail[p] = beat_tail[p] + 1;
  endtask

  task automatic clear();
    for (int p = 0; p < 2; p++) begin
      {beat_head[p], beat_next[p], beat_tail[p], atom_head[p], atom_tail[p], waiting[p]} = '0;
      atoms[p][Atoms-1].number = -1;
    end
    for (int b = 0; b < BanksMax; b++) {bank_row[b], bank_free[b]} = {-64'sd1, 64'sd0};
    {now, bus_free, next_refresh, seen} = '0;
    direction = Read;
    moved = 0;
  endtask

  /* verilator lint_off BLKSEQ */  // a model in the order of these statements; only outputs are registers
  always @(posedge clk_i) begin
    if (rst_i) begin
      clear();
      {ready_o, answer_o} <= {2'b11, 2'b00};
    end else begin
      for (int p = 0; p < 2; p++) begin
        while (beat_next[p] != beat_tail[p] && beats[p][beat_next[p]%Depth].due <= now) enter(p);
      end
      if (refresh_every != 0 && next_refresh < now * Tick) try_refresh();
      else begin
        choose_direction();
        transfer();
        open_row();
      end
      if (valid_i[Write] && ready_o[Write]) accept(Write, athena_pkg::STORE_BYTES);
      if (valid_i[Read] && ready_o[Read]) accept(Read, athena_pkg::LOAD_BYTES);
      now = now + 1;
      for (int p = 0; p < 2; p++) begin
        answer_o[p] <= answers(p);
        if (answers(p)) beat_head[p] = beat_head[p] + 1;
        ready_o[p] <= beat_tail[p] - beat_head[p] < window;
      end
    end
  end
  /* verilator lint_on BLKSEQ */
endmodule
/* verilator lint_on UNUSEDSIGNAL */
