// Package hub downloads checkpoints from the Hugging Face hub, or from a mirror that speaks its protocol.
//
//	dir, err := hub.Fetch(ctx, "lightonai/colbertv2.0", nil)
//	m, err := encoder.Open(dir, nil)
//
// Only what encoder.Open reads is downloaded: configurations, the tokenizer, and one form of the weights,
// safetensors where there are any. Files lie in the cache that Hugging Face's own tools share
// (models--org--name/{blobs,refs,snapshots}), so that what either has downloaded serves the other. Every file is
// checked against the hub's checksum before it gets its name. Interrupted downloads go on where they stopped.
// Several programs may fetch the same model at once: one downloads, the others wait for it.
//
// The environment counts where Options say nothing: HF_ENDPOINT (https://huggingface.co), HF_HUB_CACHE, HF_HOME
// (~/.cache/huggingface), HF_TOKEN and HF_HUB_OFFLINE. The token goes to the endpoint's own host alone, never to
// one that it redirects to.
//
// This is the only package of golbert that links net/http.
package hub
