# Places for the secrets of the service, filled by hand or by an operator: values made here would lie in Terraform's state.
# admin_key and assignment_key: 32 random bytes in hex; erasure_key: the same, kept for as long as anybody stays erased.
locals {
  secrets = ["admin_key", "assignment_key", "erasure_key", "s3_access_key", "s3_secret_key", "signing_key"]
}

resource "aws_secretsmanager_secret" "this" {
  for_each = toset(local.secrets)

  name                    = "${var.name}/${each.key}"
  description             = "FLYTEWHEEL_${upper(each.key)} of ${var.name}"
  kms_key_id              = aws_kms_key.this.arn
  recovery_window_in_days = 30
  tags                    = local.tags
}

# For the operator that mounts them. The signing key is the training tasks' alone: routers only check signatures.
data "aws_iam_policy_document" "secrets" {
  statement {
    sid       = "Read"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [for name in local.secrets : aws_secretsmanager_secret.this[name].arn if name != "signing_key"]
  }

  statement {
    sid       = "Database"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [aws_db_instance.this.master_user_secret[0].secret_arn]
  }

  statement {
    sid       = "Key"
    actions   = ["kms:Decrypt"]
    resources = [aws_kms_key.this.arn]
  }
}

resource "aws_iam_policy" "secrets" {
  name        = "${var.name}-secrets"
  description = "Secrets of ${var.name}, without the signing key"
  policy      = data.aws_iam_policy_document.secrets.json
  tags        = local.tags
}
