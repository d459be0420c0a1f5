// Package depcheck holds no code. Its test keeps the house in order: packages import each other in one
// direction only, and heavy dependencies stay out of the core.
package depcheck
