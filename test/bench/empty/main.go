// SPDX-License-Identifier: Apache-2.0

// Command empty does nothing: what it costs to run is what any Go program costs.
package main

func main() {}
