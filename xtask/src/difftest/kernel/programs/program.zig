// Fails where TLS, data or threads do not work.
const std = @import("std");

threadlocal var own: u64 = 41;
var table = [_]u64{ 1, 2, 3, 4 };

fn add(result: *u64) void {
    own += 1;
    result.* = own;
}

pub fn main() !void {
    var result: u64 = 0;
    const thread = try std.Thread.spawn(.{}, add, .{&result});
    thread.join();
    var sum: u64 = 0;
    for (table) |value| sum += value;
    var buffer: [100]u8 = undefined;
    const text = try std.fmt.bufPrint(&buffer, "data {d}, thread {d}, own {d}\n", .{ sum, result, own });
    _ = std.os.linux.write(1, text.ptr, text.len);
}
