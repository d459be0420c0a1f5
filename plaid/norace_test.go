//go:build !race

package plaid

const raceEnabled = false
