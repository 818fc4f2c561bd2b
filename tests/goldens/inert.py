"""Options of the reference's networks without effect on the numbers of a case.

A case brings its parameters, inputs, masks and the decoder's noise, so that how
they would be drawn does not matter. One table for each kind, by reason.
"""

_MASKS = "the case brings its masks"
_START = "the case brings its parameters"
_STOP = "ends a run whose targets have collapsed"
_COST = "memory and time only"

OPTIMIZER = {"a remark": ("note",)}

VISION_V1 = {
  _MASKS: (
    "num_mask_patches",
    "min_mask_patches_per_block",
    "max_mask_patches_per_block",
  ),
  "seen from the shapes; the reference ignores its mlp_ratio": (
    "in_channels",
    "mlp_ratio",
  ),
  "fairseq's registry": ("_name",),
}

VISION_BEIT_MODEL = {
  "seen from the shapes": ("in_chans", "mlp_ratio"),
  _START: ("init_std",),
}
VISION_BEIT_TRAIN = {"of the variance term, which is off": ("var_margin0",)}

AUDIO_V1 = {
  _MASKS: (
    "mask_prob",
    "mask_length",
    "mask_selection",
    "mask_other",
    "no_mask_overlap",
    "mask_min_space",
    "mask_dropout",
    "require_same_masks",
  ),
  "masks of channels are off": (
    "mask_channel_length",
    "mask_channel_before",
    "mask_channel_selection",
    "mask_channel_other",
    "no_mask_channel_overlap",
    "mask_channel_min_space",
  ),
  "of wav2vec 2.0's contrastive loss, which data2vec does not have": (
    "final_dim",
    "logit_temp",
    "quantize_targets",
    "quantize_input",
    "same_quantizer",
    "target_glu",
    "quantizer_depth",
    "quantizer_factor",
    "latent_vars",
    "latent_groups",
    "latent_dim",
    "latent_temp",
    "num_negatives",
    "negatives_from_everywhere",
    "cross_sample_negatives",
    "codebook_negatives",
  ),
  "of layers of another type": (
    "depthwise_conv_kernel_size",
    "attn_type",
    "pos_enc_type",
    "adp_num",
    "adp_dim",
    "adp_act_fn",
    "adp_trf_idx",
  ),
  "padding that is cut off again": ("required_seq_len_multiple",),
  _STOP: ("min_target_var", "min_pred_var"),
  _COST: ("checkpoint_activations",),
  "longer inputs are refused": ("max_positions",),
  "a copy of the length of the run": ("max_update",),
  "fairseq's registry": ("_name",),
}

TEXT_V1 = {
  _START: ("load_checkpoint_heads",),
  "fairseq's registry": ("_name",),
}
TEXT_V1_TRANSFORMER = {
  "of a decoder, which data2vec does not have": (
    "decoder",
    "max_target_positions",
    "share_decoder_input_output_embed",
    "share_all_embeddings",
    "merge_src_tgt_embed",
    "adaptive_softmax_cutoff",
    "adaptive_softmax_dropout",
    "adaptive_softmax_factor",
    "tie_adaptive_weights",
    "tie_adaptive_proj",
    "no_cross_attention",
    "cross_self_attention",
    "base_layers",
    "base_sublayers",
    "base_shuffle",
    "no_decoder_final_norm",
  ),
  _COST: (
    "checkpoint_activations",
    "offload_activations",
    "min_params_to_wrap",
    "export",
  ),
  "fairseq's registry": ("_name",),
}
TEXT_V1_ENCODER = {"fairseq's registry": ("_name",)}
TEXT_V1_QUANT_NOISE = {
  "the noise is off": ("pq_block_size",),
  "fairseq's registry": ("_name",),
}

V2 = {
  _START: ("mae_init", "seed"),
  _STOP: ("min_target_var", "min_pred_var"),
  "everything is float32": ("ema_same_dtype",),
  "what is logged": ("log_norms",),
  "groups of the optimizer, which treats all alike": ("decoder_group",),
  "the modality is the one that has options": ("supported_modality",),
  "a copy of the length of the run": ("max_update",),
  "fairseq's registry": ("_name",),
}
V2_MODALITY = {
  _MASKS: (
    "mask_prob",
    "mask_prob_min",
    "mask_prob_adjust",
    "mask_length",
    "mask_dropout",
    "inverse_mask",
    "add_masks",
    "remove_masks",
  ),
  "masks of channels are off": ("mask_channel_length",),
  "the case brings the decoder's noise": ("mask_noise_std",),
  _START: ("init_extra_token_zero", "alibi_scale"),
  "seen from the shapes": ("in_chans",),
  "of scales for each layer, which are off": ("model_depth",),
  "the modality is the one that has options": ("type",),
}
