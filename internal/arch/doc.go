// Package arch holds no code: its tests keep the shape of the project.
//
// They fail on an import that does not go down the table of layers, on a file
// over its length, on a function over its length without a stated reason, and on
// a package without a doc comment.
package arch
