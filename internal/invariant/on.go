//go:build invariants

package invariant

// Enabled tells whether a broken invariant panics.
const Enabled = true
