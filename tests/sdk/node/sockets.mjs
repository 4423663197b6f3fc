// Which connections this process has open to an address: owns reading them from the kernel.

import { readFileSync, readdirSync, readlinkSync } from "node:fs";

/** Inodes of this process's established connections to a server. */
export function openSockets(url) {
  const port = `:${Number(new globalThis.URL(url).port).toString(16).toUpperCase().padStart(4, "0")}`;
  const rows = ["tcp", "tcp6"].flatMap((file) => readFileSync(`/proc/net/${file}`, "utf8").trim().split("\n").slice(1));
  const there = rows.map((row) => row.trim().split(/\s+/)).filter((row) => row[2].endsWith(port) && row[3] === "01");
  const mine = own();
  return there.map((row) => row[9]).filter((inode) => mine.has(inode));
}

function own() {
  const links = readdirSync("/proc/self/fd").map((file) => {
    try {
      return readlinkSync(`/proc/self/fd/${file}`);
    } catch {
      return "";
    }
  });
  return new Set(links.filter((link) => link.startsWith("socket:[")).map((link) => link.slice(8, -1)));
}
