"""Public names without a row, by the reason; named tuples and protocols are found without it."""

REASONS = {
    "a result": """
        audio.ConstantQ data.CaptionedSet data.ImageSet data.NoteSet data.PhraseSet data.Prefetch
        data.Stream likelihood.BitsPerDim typicality.DensityOfStates""",
    "made by another function": """
        autoregressive.ARProcess autoregressive.GaussianSequence autoregressive.GuidedModel autoregressive.MarkovChain
        autoregressive.NetworkModel discrete.Process discrete.RateDenoiser samplers.FewSteps training.Shard
        conformance.Chain conformance.LevySignals conformance.Mixture densities.Bounds densities.Uniform
        likelihood.ModelDensity
        solvers.PrecomputedSolver times.Adaptive times.Annealed times.Band times.Discrete times.LogNormalSigma
        times.LogitNormal times.Uniform times.UniformLogSNR training.TrainState""",
    "a base class": "guidance.StatefulDenoiser solvers.LinearSolver solvers.SolverBase",
    "a record, which encode_captions takes": "data.CaptionEncoder",
    "is itself the check": """
        arguments.Between arguments.Bound arguments.Count arguments.Each arguments.OneOf arguments.bounds_of
        arguments.checked
        checks.check checks.check_at_least checks.check_axes checks.check_between checks.check_broadcasts
        checks.check_classes checks.check_count checks.check_finite checks.check_floating checks.check_levels
        checks.check_like checks.check_not_nan checks.check_per_example checks.check_positive checks.check_prediction
        checks.check_real checks.check_scalar checks.check_shape checks.check_time
        checks.nan_unless checks.nan_unless_finite checks.warn_caller""",
    "takes anything": """
        io.as_path io.check_regular io.in_bucket training.gathered training.power_ema_width trees.is_traced""",
    "takes functions, classes or what dataclasses.field takes": """
        training.projected trees.as_pytree trees.pytree_dataclass trees.static""",
    "takes callables of the code under test, whose errors are failed checks, or what one of these found": """
        conformance.Likelihood conformance.Loss conformance.Metric conformance.Posterior conformance.Sampler
        conformance.Schedule conformance.TokenSampler conformance.check conformance.compared
        conformance.not_applicable""",
    "takes a mesh, and a tree of arrays of any values": """
        training.batch_sharding training.place_batch training.place_state training.replicate training.replicated
        training.state_sharding""",
    "takes a network, its sizes or what it takes, which the network checks": """
        autoregressive.model_from_network guidance.init_denoiser_state guidance.predict guidance.with_state
        io.preconditioning.precondition networks.attention.attend networks.dit.positions networks.layer_names""",
    "a network, which checks nothing; its input is from inception_input or vgg_input": """
        metrics.InceptionV3 metrics.VGG16""",
    "takes a result or a tree of any values": """
        autoregressive.gaussian_sequence metrics.merge_over_processes networks.normalise_weights""",
    "a target, whose arguments convert and denoiser_from_network check": """
        predictions.Eps predictions.Score predictions.V predictions.Velocity predictions.X0""",
    "the same as metrics.vgg_input": "metrics.vgg.vgg_input",
    "tests/audio/test_structure.py has its errors": "audio.structure.autocorrelation audio.structure.self_similarity",
    "tests/bridges/test_inference.py has its errors": "bridges.blackjax.log_density bridges.numpyro.distribution",
    "tests/data/test_captions.py has its errors": "data.encode_captions data.load_caption_encoder",
    "tests/data/builders/test_emoji.py has its errors": "data.load_captioned",
    "renders recordings; data.load and its own tests have its errors": "data.load_notes data.load_phrases",
    "tests/io/test_files_of_data.py has its errors": """
        io.check_unpacked io.parse_json io.read_arrays io.read_file io.regular_file io.resolved""",
    "tests/io has its errors": """
        io.export io.load io.preconditioning.from_scheduler io.read_json io.reading.read_weights
        io.tensors.check_params""",
    "None of what is not known or not there": "io.formats.find_format training.restore_extra",
}
EXEMPT = {name: reason for reason, names in REASONS.items() for name in names.split()}
