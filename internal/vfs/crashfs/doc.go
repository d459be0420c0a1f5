// Package crashfs is a file system in memory for tests of durability. It keeps what is visible now apart from
// what is durable, and gives images of what a crash may leave behind, as far as POSIX goes:
//
//   - the content of a file is durable from its Sync on; what was written since may be there, absent, cut short,
//     or there in some blocks and zero or garbage in others;
//   - names (creations, renames, removals, directories) are durable from the SyncDir of their directory on; of
//     those since, any subset may be there, whatever was synced of the files' content. A rename is one change,
//     but the old name may stay beside the new one;
//   - a killed process, other than a power cut, leaves everything visible, and what was not durable still is
//     not.
//
// Every call passes through hooks that can count it, fail it before or after it is done, cut a write short, or
// ignore it, which is how the tests see that each sync is needed. Open files, mappings and locks are counted,
// so that leaks show. It is used by tests only.
package crashfs
